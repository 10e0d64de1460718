//! Sorting, and searching what is sorted.

#![forbid(unsafe_code)]

use std::cell::Cell;

/// Sorts in place, by what comes before what. (Heap sort. The standard library's functions
/// panic where an order contradicts itself.)
pub fn sort<T: Copy>(items: &mut [T], before: impl Fn(&T, &T) -> bool) {
    let cells = Cell::from_mut(items).as_slice_of_cells();
    for root in (0..cells.len() / 2).rev() {
        sift_down(cells, root, &before);
    }
    for end in (1..cells.len()).rev() {
        if let (Some(first), Some(last)) = (cells.first(), cells.get(end)) {
            last.set(first.replace(last.get()));
        }
        sift_down(cells.get(..end).unwrap_or_default(), 0, &before);
    }
}

/// Lets an item sink below those that come after it.
fn sift_down<T: Copy>(heap: &[Cell<T>], mut root: usize, before: &impl Fn(&T, &T) -> bool) {
    while let (Some(parent), Some(mut child)) = (heap.get(root), heap.get(2 * root + 1)) {
        let mut next = 2 * root + 1;
        if let Some(right) = heap.get(next + 1)
            && before(&child.get(), &right.get())
        {
            (child, next) = (right, next + 1);
        }
        if !before(&parent.get(), &child.get()) {
            return;
        }
        parent.set(child.replace(parent.get()));
        root = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everything_is_there_in_order(mut items in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            sort(&mut items, |one, other| one < other);
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn an_order_that_is_none_does_no_harm(mut items in proptest::collection::vec(any::<u8>(), 0..100)) {
            sort(&mut items, |_, _| true);
        }
    }
}
