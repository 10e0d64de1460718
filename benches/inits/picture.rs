//! The figures as a picture: bars, shorter is better. Its colours can be read on light
//! and on dark.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::Init;
use crate::measure::Figures;

const TEXT: RGBColor = RGBColor(128, 128, 128);
const OURS: RGBColor = RGBColor(31, 136, 61);
const OTHERS: RGBColor = RGBColor(110, 119, 129);

type Panel = (&'static str, fn(&Figures) -> f64);

const PANELS: [Panel; 4] = [
    ("file size", |figures| figures.size as f64),
    ("resident memory as PID 1", |figures| figures.rss as f64),
    ("start-to-end overhead, median", |figures| figures.overhead.1),
    ("signal round trip, median", |figures| figures.round_trip.0),
];

pub(crate) fn draw(path: &Path, inits: &[Init], figures: &[Figures]) -> Result<(), Box<dyn Error>> {
    let (width, row, gap) = (390, 22, 40);
    let height = gap + inits.len() as i32 * row + 10;
    let area = SVGBackend::new(path, (2 * width as u32, 2 * height as u32)).into_drawing_area();
    for (index, (title, figure)) in PANELS.into_iter().enumerate() {
        let (left, top) = ((index as i32 % 2) * width, (index as i32 / 2) * height);
        area.draw(&Text::new(title, (left + 10, top + 10), ("sans-serif", 15).into_font().color(&TEXT)))?;
        let largest = figures.iter().map(figure).fold(f64::MIN_POSITIVE, f64::max);
        for (line, (init, figures)) in inits.iter().zip(figures).enumerate() {
            let y = top + gap + line as i32 * row;
            let length = (figure(figures).max(0.0) / largest * 220.0) as i32;
            let colour = if init.name.starts_with("sexton") { OURS } else { OTHERS };
            area.draw(&Text::new(init.name, (left + 10, y), ("sans-serif", 13).into_font().color(&TEXT)))?;
            let bar = [(left + 110, y), (left + 111 + length, y + row - 7)];
            area.draw(&Rectangle::new(bar, colour.filled()))?;
        }
    }
    area.present()?;
    Ok(())
}
