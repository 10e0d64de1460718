//! Small tables of words, packed at compile time: a slice of `(u8, &str)` would take 24
//! bytes for each word besides its letters, this takes 2.

#![forbid(unsafe_code)]

/// Words by their numbers, each as number, length and letters.
pub(crate) struct Packed<const SIZE: usize>([u8; SIZE]);

/// How many bytes it takes to pack these entries.
pub(crate) const fn packed_size(entries: &[(u8, &str)]) -> usize {
    let (mut size, mut index) = (0, 0);
    while index < entries.len() {
        size += 2 + entries[index].1.len();
        index += 1;
    }
    size
}

impl<const SIZE: usize> Packed<SIZE> {
    /// Packs entries, at compile time; `SIZE` must be what [`packed_size`] says.
    pub(crate) const fn new(entries: &[(u8, &str)]) -> Self {
        let mut bytes = [0; SIZE];
        let (mut place, mut index) = (0, 0);
        while index < entries.len() {
            let (number, word) = (entries[index].0, entries[index].1.as_bytes());
            assert!(word.len() <= u8::MAX as usize);
            bytes[place] = number;
            bytes[place + 1] = word.len() as u8;
            let mut letter = 0;
            while letter < word.len() {
                bytes[place + 2 + letter] = word[letter];
                letter += 1;
            }
            place += 2 + word.len();
            index += 1;
        }
        Self(bytes)
    }

    /// The first entry that is wanted.
    pub(crate) fn find(&self, wanted: impl Fn(u8, &[u8]) -> bool) -> Option<(u8, &[u8])> {
        let mut rest = self.0.as_slice();
        while let [number, length, words @ ..] = rest {
            let (word, others) = words.split_at_checked(usize::from(*length))?;
            if wanted(*number, word) {
                return Some((*number, word));
            }
            rest = others;
        }
        None
    }

    /// The word with this number.
    pub(crate) fn word(&self, wanted: u8) -> Option<&[u8]> {
        self.find(|number, _| number == wanted).map(|(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_found() {
        const ENTRIES: &[(u8, &str)] = &[(1, "one"), (255, "many"), (0, ""), (7, "seven")];
        static PACKED: Packed<{ packed_size(ENTRIES) }> = Packed::new(ENTRIES);
        for (number, word) in ENTRIES {
            assert_eq!(PACKED.word(*number), Some(word.as_bytes()));
            assert_eq!(PACKED.find(|_, found| found == word.as_bytes()), Some((*number, word.as_bytes())));
        }
        assert_eq!(PACKED.word(2), None);
    }
}
