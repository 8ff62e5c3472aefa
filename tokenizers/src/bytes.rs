//! The tokenizer whose tokens are the bytes.

use lmtrain_runs::Tokenization;

use crate::{Tokenizer, TokenizerError};

/// Every byte is its own token.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByteTokenizer;

impl Tokenizer for ByteTokenizer {
    fn tokenization(&self) -> Tokenization {
        Tokenization::Bytes
    }

    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        Ok(bytes.iter().copied().map(u32::from).collect())
    }

    fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let byte = |&token| {
            u8::try_from(token)
                .map_err(|_| TokenizerError::OutsideVocabulary { token, vocabulary: 256 })
        };
        tokens.iter().map(byte).collect()
    }

    fn boundary(&self, bytes: &[u8], at: usize) -> usize {
        at.min(bytes.len())
    }

    fn identity(&self) -> [u8; 32] {
        [0; 32]
    }

    fn packed(&self) -> &[u8] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let tokens = ByteTokenizer.encode(&bytes).expect("bytes");
        assert_eq!(tokens.len(), 256);
        assert_eq!(ByteTokenizer.decode(&tokens).expect("bytes"), bytes);
        assert!(ByteTokenizer.decode(&[256]).is_err());
    }
}
