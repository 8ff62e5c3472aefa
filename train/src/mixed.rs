//! Several sequences of tokens as one: what a mixture of corpora trains and validates on. No training sequence contains
//! tokens of two corpora.

use std::ops::Range;
use std::sync::Arc;

use crate::batches::{Stretch, Tokens};

/// Rows of tokens, one after another, each with its share.
pub struct MixedTokens {
    parts: Vec<MixedPart>,
}

struct MixedPart {
    tokens: Arc<dyn Tokens>,
    /// Where its tokens are among all.
    range: Range<usize>,
    share: f64,
}

impl MixedTokens {
    /// These rows, each with its share of the sequences in proportion to those of the others.
    #[must_use]
    pub fn new(parts: Vec<(Arc<dyn Tokens>, f64)>) -> Self {
        let mut end = 0;
        let place = |(tokens, share): (Arc<dyn Tokens>, f64)| {
            let range = end..end + tokens.count();
            end = range.end;
            MixedPart { tokens, range, share }
        };
        Self { parts: parts.into_iter().map(place).collect() }
    }

    /// The part that holds the token at `start`, and where that is within it.
    fn find(&self, start: usize) -> (&dyn Tokens, usize) {
        let index = self.parts.partition_point(|part| part.range.end <= start);
        let part = &self.parts[index];
        (part.tokens.as_ref(), start - part.range.start)
    }
}

impl Tokens for MixedTokens {
    fn count(&self) -> usize {
        self.parts.last().map_or(0, |part| part.range.end)
    }

    fn raw_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.tokens.raw_bytes()).sum()
    }

    fn raw_bytes_of(&self, start: usize, count: usize) -> u64 {
        let (tokens, start) = self.find(start);
        tokens.raw_bytes_of(start, count)
    }

    fn read(&self, start: usize, tokens: &mut [i32]) {
        let (part, start) = self.find(start);
        part.read(start, tokens);
    }

    fn stretches(&self) -> Vec<Stretch> {
        let of_part = |part: &MixedPart| {
            let within = part.tokens.stretches().into_iter();
            let placed = within.map(|stretch| Stretch {
                range: part.range.start + stretch.range.start..part.range.start + stretch.range.end,
                share: part.share * stretch.share,
                ..stretch
            });
            placed.collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(of_part).collect()
    }
}

#[cfg(test)]
mod tests {
    use lmtrain_corpora::Corpus;

    use super::*;
    use crate::batches::ByteTokens;

    #[test]
    fn parts_lie_one_after_another() {
        let part = |bytes: &[u8]| -> Arc<dyn Tokens> {
            let corpus = Arc::new(Corpus::from_bytes("part", bytes.to_vec()));
            Arc::new(ByteTokens::new(corpus, 1..bytes.len()))
        };
        let mixed =
            MixedTokens::new(vec![(part(b"_abc"), 2.0), (part(b"_"), 1.0), (part(b"_de"), 0.5)]);
        assert_eq!((mixed.count(), mixed.raw_bytes(), mixed.raw_bytes_of(3, 2)), (5, 5, 2));
        let read = |start, count| {
            let mut tokens = vec![0; count];
            mixed.read(start, &mut tokens);
            tokens
        };
        assert_eq!(
            (read(0, 3), read(2, 1), read(3, 2)),
            (vec![97, 98, 99], vec![99], vec![100, 101])
        );
        let stretches = mixed.stretches();
        assert_eq!(stretches.iter().map(|it| it.share).collect::<Vec<_>>(), [2.0, 1.0, 0.5]);
        assert_eq!(stretches[2].range, 3..5);
    }
}
