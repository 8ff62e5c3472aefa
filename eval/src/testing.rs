//! Fake networks for this crate's tests: adaptive counts, computed with integers and one division, so that a session
//! gives the same bits however it is stepped; and one that deliberately does not. Also a tokenizer whose tokens are not
//! the bytes.

use lmtrain_runs::Tokenization;
use lmtrain_runs::random::SplitMix64;
use lmtrain_tokenizers::{ByteTokenizer, Tokenizer, TokenizerError};

use crate::predictor::{Predictor, PredictorError, Session};

/// Counts the tokens of the chunk so far, and expects the last one once more.
#[derive(Clone, Debug)]
pub(crate) struct CountModel {
    vocabulary: usize,
    exact: bool,
    says_exact: bool,
    context: usize,
    /// Tells apart models that are otherwise the same.
    pub(crate) identity: [u8; 32],
}

impl CountModel {
    pub(crate) fn exact(vocabulary: usize) -> Self {
        Self { vocabulary, exact: true, says_exact: true, context: 4096, identity: [7; 32] }
    }

    /// Its rows depend on how many tokens are fed at once, as those of a GPU do.
    pub(crate) fn inexact(vocabulary: usize) -> Self {
        Self { vocabulary, exact: false, says_exact: false, context: 4096, identity: [8; 32] }
    }

    pub(crate) fn said_to_be_inexact(self) -> Self {
        Self { says_exact: false, ..self }
    }

    pub(crate) fn of_context(self, context: usize) -> Self {
        Self { context, ..self }
    }

    pub(crate) fn said_to_be_exact(self) -> Self {
        Self { says_exact: true, ..self }
    }
}

/// Tokens with some structure: mostly a few frequent ones, often repeated.
pub(crate) fn text(length: usize, vocabulary: u32, seed: u64) -> Vec<u32> {
    let mut random = SplitMix64::new(seed);
    let mut last = 0;
    let mut next = || {
        match random.below(8) {
            0 | 1 => {}
            2 => last = random.below(u64::from(vocabulary)),
            _ => last = random.below(u64::from(vocabulary.min(20))),
        }
        u32::try_from(last).expect("below the vocabulary")
    };
    (0..length).map(|_| next()).collect()
}

impl Predictor for CountModel {
    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn context(&self) -> usize {
        self.context
    }

    fn begin_token(&self) -> u32 {
        u32::MAX
    }

    fn identity(&self) -> [u8; 32] {
        self.identity
    }

    fn is_exact(&self) -> bool {
        self.says_exact
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        let score = |chunk: &&[u32]| {
            let mut lane = Counts::new(self.vocabulary);
            let mut inputs = std::iter::once(self.begin_token()).chain(chunk.iter().copied());
            let bits = |&token: &u32| {
                let row = lane.next(inputs.next().unwrap_or_default());
                -f64::from(row[token as usize]).log2() as f32
            };
            chunk.iter().map(bits).collect()
        };
        Ok(chunks.iter().map(score).collect())
    }

    fn session(
        &self,
        lanes: usize,
        _tokens: usize,
    ) -> Result<Box<dyn Session + '_>, PredictorError> {
        let lanes = vec![Counts::new(self.vocabulary); lanes];
        Ok(Box::new(CountSession { model: self, lanes }))
    }
}

struct CountSession<'a> {
    model: &'a CountModel,
    lanes: Vec<Counts>,
}

impl Session for CountSession<'_> {
    fn step(
        &mut self,
        inputs: &[u32],
        count: usize,
        rows: &mut Vec<f32>,
    ) -> Result<(), PredictorError> {
        rows.clear();
        for (lane, inputs) in self.lanes.iter_mut().zip(inputs.chunks_exact(count)) {
            for &input in inputs {
                rows.extend(lane.next(input));
            }
        }
        if !self.model.exact {
            let other = 1.0 + 1e-3 * (count as f32).min(9.0);
            rows.iter_mut().for_each(|entry| *entry *= other);
            rows.iter_mut().step_by(2).for_each(|entry| *entry *= other);
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.lanes.fill(Counts::new(self.model.vocabulary));
    }
}

#[derive(Clone)]
struct Counts {
    weights: Vec<u32>,
    total: u32,
}

impl Counts {
    fn new(vocabulary: usize) -> Self {
        Self { weights: vec![1; vocabulary], total: u32::try_from(vocabulary).expect("small") }
    }

    fn next(&mut self, input: u32) -> Vec<f32> {
        let repeated = input as usize;
        if let Some(weight) = self.weights.get_mut(repeated) {
            *weight += 32;
            self.total += 32;
        }
        let bonus = if repeated < self.weights.len() { self.total / 4 } else { 0 };
        let total = (self.total + bonus) as f32;
        let entry = |(token, &weight): (usize, &u32)| {
            (weight + if token == repeated { bonus } else { 0 }) as f32 / total
        };
        self.weights.iter().enumerate().map(entry).collect()
    }
}

/// Sure of one token of 256, whatever came before; every other has this probability.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedModel {
    pub(crate) sure_of: usize,
    pub(crate) others: f32,
}

impl ScriptedModel {
    fn row(&self) -> Vec<f32> {
        let mut row = vec![self.others; 256];
        row[self.sure_of] = 1.0 - 255.0 * self.others;
        row
    }
}

impl Predictor for ScriptedModel {
    fn vocabulary(&self) -> usize {
        256
    }

    fn context(&self) -> usize {
        4096
    }

    fn begin_token(&self) -> u32 {
        0
    }

    fn identity(&self) -> [u8; 32] {
        [5; 32]
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn score(&self, chunks: &[&[u32]]) -> Result<Vec<Vec<f32>>, PredictorError> {
        let row = self.row();
        // A network's logits know more of what is impossible than its probabilities do.
        let bits = |&token: &u32| -f64::from(row[token as usize]).log2().max(-500.0) as f32;
        Ok(chunks.iter().map(|chunk| chunk.iter().map(bits).collect()).collect())
    }

    fn session(
        &self,
        lanes: usize,
        _tokens: usize,
    ) -> Result<Box<dyn Session + '_>, PredictorError> {
        Ok(Box::new(ScriptedSession { model: self, lanes }))
    }
}

struct ScriptedSession<'a> {
    model: &'a ScriptedModel,
    lanes: usize,
}

impl Session for ScriptedSession<'_> {
    fn step(
        &mut self,
        _inputs: &[u32],
        count: usize,
        rows: &mut Vec<f32>,
    ) -> Result<(), PredictorError> {
        *rows = self.model.row().repeat(self.lanes * count);
        Ok(())
    }

    fn restart(&mut self) {}
}

/// Bytes, of which a space has no token.
pub(crate) struct NoSpaces;

impl Tokenizer for NoSpaces {
    fn tokenization(&self) -> Tokenization {
        Tokenization::Pretrained(256)
    }

    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        match bytes.contains(&b' ') {
            true => Err(TokenizerError::Unspellable { byte: b' ' }),
            false => ByteTokenizer.encode(bytes),
        }
    }

    fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        ByteTokenizer.decode(tokens)
    }

    fn can_spell(&self, byte: u8) -> bool {
        byte != b' '
    }

    fn boundary(&self, bytes: &[u8], at: usize) -> usize {
        at.min(bytes.len())
    }

    fn identity(&self) -> [u8; 32] {
        [9; 32]
    }

    fn packed(&self) -> &[u8] {
        &[]
    }
}

/// Bytes, and 44 tokens more: each of the bytes `a` to 140 twice over.
pub(crate) struct PairTokenizer;

impl Tokenizer for PairTokenizer {
    fn tokenization(&self) -> Tokenization {
        Tokenization::Bpe(300)
    }

    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::new();
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            let doubled = after.first() == Some(&first) && (97..141).contains(&first);
            tokens.push(u32::from(first) + if doubled { 159 } else { 0 });
            rest = if doubled { &after[1..] } else { after };
        }
        Ok(tokens)
    }

    fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let mut bytes = Vec::new();
        for &token in tokens {
            match u8::try_from(token) {
                Ok(byte) => bytes.push(byte),
                Err(_) if token < 300 => bytes.extend([(token - 159) as u8; 2]),
                Err(_) => {
                    return Err(TokenizerError::OutsideVocabulary { token, vocabulary: 300 });
                }
            }
        }
        Ok(bytes)
    }

    fn identity(&self) -> [u8; 32] {
        [3; 32]
    }

    fn boundary(&self, bytes: &[u8], at: usize) -> usize {
        let differ = |&at: &usize| at == 0 || at >= bytes.len() || bytes[at - 1] != bytes[at];
        (at.min(bytes.len())..=bytes.len()).find(differ).unwrap_or(bytes.len())
    }

    fn packed(&self) -> &[u8] {
        &[97, 141]
    }
}
