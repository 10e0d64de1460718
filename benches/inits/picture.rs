//! The figures as a picture: bars, shorter is better. Its colours can be read on light
//! and on dark.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::measure::Figures;
use crate::{Init, table};

const TEXT: RGBColor = RGBColor(128, 128, 128);
const OURS: RGBColor = RGBColor(31, 136, 61);
const OTHERS: RGBColor = RGBColor(110, 119, 129);

/// A group of bars: how long each is, and the value written at its end.
struct Panel<'a> {
    title: String,
    length: &'a dyn Fn(&Figures) -> f64,
    value: &'a dyn Fn(&Figures) -> String,
}

pub(crate) fn draw(path: &Path, inits: &[Init], figures: &[Figures]) -> Result<(), Box<dyn Error>> {
    let base = table::base_of_overhead(inits);
    let start = |f: &Figures| f.overhead.median / figures[base].overhead.median;
    let signal = |f: &Figures| f.round_trip.0 / figures[0].round_trip.0;
    let panels = [
        Panel {
            title: "file size".into(),
            length: &|f| f.size as f64,
            value: &|f| format!("{} KB", table::kilobytes(f.size)),
        },
        Panel {
            title: "resident memory as PID 1".into(),
            length: &|f| f.rss as f64,
            value: &|f| format!("{} KiB", f.rss),
        },
        Panel {
            title: format!("start overhead, median, {} = 1", inits[base].name),
            length: &start,
            value: &|f| format!("{:.2}", start(f)),
        },
        Panel {
            title: "signal round trip, median, sexton = 1".into(),
            length: &signal,
            value: &|f| format!("{:.2}", signal(f)),
        },
    ];
    let (width, row, gap) = (390, 22, 40);
    let height = gap + inits.len() as i32 * row + 10;
    let area = SVGBackend::new(path, (2 * width as u32, 2 * height as u32)).into_drawing_area();
    for (index, panel) in panels.iter().enumerate() {
        let (left, top) = ((index as i32 % 2) * width, (index as i32 / 2) * height);
        let write = |text: &str, x: i32, y: i32, size: i32| {
            area.draw(&Text::new(
                text.to_owned(),
                (left + x, y),
                ("sans-serif", size).into_font().color(&TEXT),
            ))
        };
        write(&panel.title, 10, top + 10, 15)?;
        let largest = figures.iter().map(panel.length).fold(f64::MIN_POSITIVE, f64::max);
        for (line, (init, figures)) in inits.iter().zip(figures).enumerate() {
            let y = top + gap + line as i32 * row;
            let end = 111 + ((panel.length)(figures).max(0.0) / largest * 200.0) as i32;
            let colour = if init.name.starts_with("sexton") { OURS } else { OTHERS };
            write(&init.name, 10, y, 13)?;
            area.draw(&Rectangle::new([(left + 110, y), (left + end, y + row - 7)], colour.filled()))?;
            write(&(panel.value)(figures), end + 6, y, 13)?;
        }
    }
    area.present()?;
    Ok(())
}
