//! Words to tokens. Each distinct word is merged once and then remembered. A long text is split among threads at
//! boundaries of words, so its tokens are the same with any number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::AHashMap;

use super::alphabet::{BYTES, byte_order};
use super::vocabulary::Vocabulary;
use super::words::{Words, pieces};

/// Bytes of a piece. A text of fewer than two is not shared out.
const PIECE_BYTES: usize = 1 << 18;
/// Words that a thread remembers; it forgets all of them when it has as many.
const MOST_WORDS: usize = 1 << 21;

/// What encoding needs of a vocabulary.
pub(super) struct Encoder {
    /// The token of each byte.
    bytes: [u32; BYTES],
    /// The token that a pair merges into, which is also its rank: the lowest goes first.
    merges: AHashMap<(u32, u32), u32>,
}

/// Words of a text with the places of their tokens.
struct Memory<'a> {
    places: AHashMap<&'a [u8], (u32, u32)>,
    tokens: Vec<u32>,
}

impl Encoder {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut bytes = [0; BYTES];
        for (token, byte) in (0..).zip(byte_order()) {
            bytes[usize::from(byte)] = token;
        }
        let made = BYTES as u32..;
        let pairs = vocabulary.merges().iter().zip(made);
        let merges = pairs.map(|(&[left, right], token)| ((left, right), token)).collect();
        Self { bytes, merges }
    }

    /// The tokens of any bytes.
    pub(super) fn encode(&self, bytes: &[u8]) -> Vec<u32> {
        let pieces = if bytes.len() < 2 * PIECE_BYTES {
            std::iter::once(0..bytes.len()).collect()
        } else {
            pieces(bytes, PIECE_BYTES)
        };
        let threads = rayon::current_num_threads().min(pieces.len());
        let next = AtomicUsize::new(0);
        let work = || {
            let mut memory = Memory { places: AHashMap::new(), tokens: Vec::new() };
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(piece) = pieces.get(index) else { return done };
                let mut tokens = Vec::new();
                self.piece(&bytes[piece.clone()], &mut memory, &mut tokens);
                done.push((index, tokens));
            }
        };
        let mut done = if threads <= 1 {
            work()
        } else {
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let join = |worker: std::thread::ScopedJoinHandle<'_, _>| worker.join();
                workers
                    .into_iter()
                    .flat_map(|it| join(it).expect("encoding never panics"))
                    .collect()
            })
        };
        if done.len() == 1 {
            return done.swap_remove(0).1;
        }
        done.sort_unstable_by_key(|(index, _)| *index);
        let mut tokens = Vec::with_capacity(done.iter().map(|(_, some)| some.len()).sum());
        done.into_iter().for_each(|(_, some)| tokens.extend(some));
        tokens
    }

    fn piece<'a>(&self, bytes: &'a [u8], memory: &mut Memory<'a>, tokens: &mut Vec<u32>) {
        for word in Words::new(bytes) {
            let place = memory.places.get(word).copied();
            let (start, end) = place.unwrap_or_else(|| self.learn(word, memory));
            tokens.extend(&memory.tokens[start as usize..end as usize]);
        }
    }

    /// Merges a word that is not in memory, and puts it there.
    fn learn<'a>(&self, word: &'a [u8], memory: &mut Memory<'a>) -> (u32, u32) {
        if memory.places.len() >= MOST_WORDS {
            memory.places.clear();
            memory.tokens.clear();
        }
        let start = memory.tokens.len();
        self.merge(word, &mut memory.tokens);
        // At most 2^21 words of at most 257 tokens.
        let place = (start as u32, memory.tokens.len() as u32);
        memory.places.insert(word, place);
        place
    }

    /// Appends the tokens of one word: its bytes, of which the pair of the lowest rank, the leftmost
    /// if there are several, is merged until no pair merges.
    fn merge(&self, word: &[u8], tokens: &mut Vec<u32>) {
        const NONE: u32 = u32::MAX;
        let start = tokens.len();
        tokens.extend(word.iter().map(|&byte| self.bytes[usize::from(byte)]));
        let rank = |left, right| self.merges.get(&(left, right)).copied().unwrap_or(NONE);
        // The rank of each token with the one after it.
        let mut ranks: Vec<u32> =
            tokens[start..].windows(2).map(|pair| rank(pair[0], pair[1])).collect();
        while let Some((at, &made)) = ranks.iter().enumerate().min_by_key(|(_, rank)| **rank)
            && made != NONE
        {
            tokens[start + at] = made;
            tokens.remove(start + at + 1);
            ranks.remove(at);
            if let Some(after) = ranks.get_mut(at) {
                *after = rank(made, tokens[start + at + 1]);
            }
            if at > 0 {
                ranks[at - 1] = rank(tokens[start + at - 1], made);
            }
        }
    }
}
