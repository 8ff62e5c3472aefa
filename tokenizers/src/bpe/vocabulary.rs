//! A vocabulary: which bytes each token stands for, and which pairs merge. The merges determine the rest: tokens below
//! 256 are the bytes, and merge `i` makes token 256 + i from two earlier tokens.

use ahash::AHashSet;
use sha2::{Digest, Sha256};

use super::alphabet::{BYTES, byte_order};
use super::words::{MOST_BYTES, PATTERN};

/// Most tokens of a vocabulary.
pub(super) const MOST_TOKENS: usize = 1 << 18;

/// Tokens and merges that fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vocabulary {
    /// In the order of their ranks: an earlier one goes first.
    merges: Vec<[u32; 2]>,
    /// Every token's bytes, one after the other.
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<u32>,
}

impl Vocabulary {
    /// The vocabulary that these merges make.
    ///
    /// # Errors
    /// A sentence on the first merge that is wrong.
    pub(super) fn from_merges(merges: Vec<[u32; 2]>) -> Result<Self, String> {
        if BYTES + merges.len() > MOST_TOKENS {
            return Err(format!("it has more than {MOST_TOKENS} tokens"));
        }
        let mut vocabulary =
            Self { merges: Vec::new(), bytes: byte_order().to_vec(), ends: (1..=256).collect() };
        let mut seen: AHashSet<Vec<u8>> = byte_order().iter().map(|&byte| vec![byte]).collect();
        for (rank, &[left, right]) in merges.iter().enumerate() {
            let refuse = |why: &str| Err(format!("merge {rank}, of {left} and {right}, {why}"));
            let parts = [left, right].map(|token| vocabulary.token(token));
            let [Some(left), Some(right)] = parts else { return refuse("names a later token") };
            let made = [left, right].concat();
            if made.len() > MOST_BYTES {
                return refuse("makes a token longer than any word");
            }
            vocabulary.bytes.extend(&made);
            // At most 2^18 tokens of at most 257 bytes.
            vocabulary.ends.push(vocabulary.bytes.len() as u32);
            if !seen.insert(made) {
                return refuse("makes a token that exists already");
            }
        }
        Ok(Self { merges, ..vocabulary })
    }

    /// Number of tokens.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The pair of every merge.
    pub(super) fn merges(&self) -> &[[u32; 2]] {
        &self.merges
    }

    /// The bytes of a token, if there is such a one.
    pub(super) fn token(&self, token: u32) -> Option<&[u8]> {
        let index = token as usize;
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start as usize..end as usize])
    }

    /// SHA-256 of everything that determines the tokens of any bytes: the pattern of words, and the merges.
    pub(super) fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(format!("lmtrain bpe 1\n{PATTERN}\n"));
        self.merges.as_flattened().iter().for_each(|token| hash.update(token.to_le_bytes()));
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_make_the_tokens() {
        let token = |byte| byte_order().iter().position(|&it| it == byte).expect("a byte") as u32;
        let (a, b) = (token(b'a'), token(b'b'));
        let vocabulary = Vocabulary::from_merges(vec![[a, b], [256, 256]]).expect("they fit");
        assert_eq!(vocabulary.count(), 258);
        assert_eq!(vocabulary.token(a), Some(&b"a"[..]));
        assert_eq!(vocabulary.token(257), Some(&b"abab"[..]));
        assert_eq!(vocabulary.token(258), None);
        for (merges, why) in [
            (vec![[a, 256]], "merge 0, of 0 and 256, names a later token"),
            (vec![[a, b], [a, b]], "exists already"),
            (
                (0..9).map(|rank| if rank == 0 { [a, a] } else { [255 + rank; 2] }).collect(),
                "longer",
            ),
        ] {
            let error = Vocabulary::from_merges(merges).expect_err(why);
            assert!(error.contains(&why.replace("of 0", &format!("of {a}"))), "{error}");
        }
    }
}
