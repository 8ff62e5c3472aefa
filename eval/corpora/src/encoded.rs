//! The tokens of a part of a corpus, encoded once and kept in the cache as a memory-mapped file: 16 bits per token, or
//! 32 if the vocabulary needs them. The file is named after the hashes of corpus and tokenizer, and contains them; a
//! file that is damaged or belongs to something else is made again.
//!
//! All integers are little-endian.
//!
//! ```text
//! magic      "LMTOKENS"
//! key        SHA-256 of version, corpus, span and tokenizer [32]
//! tokens     how many u64
//! checksum   CRC-32 of the tokens u32 · of all before it u32
//! tokens     u16 or u32 each
//! ```

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lmtrain_runs::Span;
use lmtrain_runs::files::Unfinished;
use lmtrain_tokenizers::Tokenizer;
use sha2::{Digest, Sha256};

use super::corpus::Corpus;
use super::directory::DataDirectory;
use super::error::CorpusError;
use super::files::{Contents, ensure_space, open_bytes};

const MAGIC: [u8; 8] = *b"LMTOKENS";
const HEADER_BYTES: usize = 56;
/// Bytes of the corpus that are encoded at a time, which bounds memory.
const STRETCH_BYTES: usize = 64 << 20;

/// The tokens of a part of a corpus.
pub struct Encoded {
    contents: Contents,
    /// Bytes of a token: 2 or 4.
    width: usize,
    count: usize,
    raw_bytes: u64,
    /// Raw bytes of every token of the vocabulary.
    lengths: Vec<u16>,
}

/// What the tokens of a file belong to.
struct Key {
    hash: [u8; 32],
    width: usize,
}

impl Key {
    fn new(corpus: &Corpus, span: Span, tokenizer: &dyn Tokenizer) -> Self {
        let mut hash = Sha256::new();
        hash.update("lmtrain tokens 1\n");
        hash.update(format!("{} {}..{}\n", corpus.sha256(), span.start, span.end));
        hash.update(format!("{}\n", tokenizer.tokenization()));
        hash.update(tokenizer.identity());
        let width = if tokenizer.vocabulary() <= 1 << 16 { 2 } else { 4 };
        Self { hash: hash.finalize().into(), width }
    }

    fn path(&self, corpus: &Corpus, tokenizer: &dyn Tokenizer, data: &DataDirectory) -> PathBuf {
        let name = lmtrain_runs::plan::file_safe(corpus.name());
        let name: String = name.chars().take(40).collect();
        let digits = lmtrain_runs::units::hex(&self.hash[..16]);
        let file = format!("{name}-{}-{digits}", tokenizer.tokenization());
        data.cache.join("tokens").join(file)
    }

    /// The header of a file of these tokens.
    fn header(&self, count: u64, checksum: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..40].copy_from_slice(&self.hash);
        header[40..48].copy_from_slice(&count.to_le_bytes());
        header[48..52].copy_from_slice(&checksum.to_le_bytes());
        let seal = crc32fast::hash(&header[..52]);
        header[52..].copy_from_slice(&seal.to_le_bytes());
        header
    }

    /// The number of tokens in a file, if it is complete and has this key.
    fn count_of(&self, file: &[u8]) -> Option<usize> {
        let (header, tokens) = file.split_at_checked(HEADER_BYTES)?;
        let count = (tokens.len() / self.width) as u64;
        let expected = self.header(count, crc32fast::hash(tokens));
        (header == expected && tokens.len() % self.width == 0).then_some(count as usize)
    }
}

impl Encoded {
    /// The tokens of a span: from the cache, or encoded and stored there.
    ///
    /// # Errors
    /// If the cache cannot be written, or the tokenizer does not give back what it was given.
    pub fn open(
        corpus: &Corpus,
        span: Span,
        tokenizer: &dyn Tokenizer,
        data: &DataDirectory,
    ) -> Result<Self, CorpusError> {
        let key = Key::new(corpus, span, tokenizer);
        let path = key.path(corpus, tokenizer, data);
        let there = open_bytes(&path).ok();
        let found = there.and_then(|contents| Some((key.count_of(&contents)?, contents)));
        let (count, contents) = match found {
            Some(found) => found,
            None => {
                encode(corpus.slice(span), tokenizer, &key, &path)?;
                let contents = open_bytes(&path)?;
                let refuse =
                    || io::Error::other("the cache file that was just written cannot be read back");
                let count = key.count_of(&contents);
                (count.ok_or_else(|| CorpusError::file("read", &path)(refuse()))?, contents)
            }
        };
        let length = |token| tokenizer.decode(&[token]).map(|bytes| bytes.len() as u16);
        let lengths = (0..tokenizer.vocabulary() as u32).map(length).collect::<Result<_, _>>();
        let lengths = lengths.map_err(not_lossless)?;
        let raw_bytes = span.end - span.start;
        Ok(Self { contents, width: key.width, count, raw_bytes, lengths })
    }

    /// Number of tokens.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes that they stand for.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// `count` tokens from `start` on.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn tokens(&self, start: usize, count: usize) -> impl Iterator<Item = u32> + '_ {
        let from = HEADER_BYTES + start * self.width;
        let bytes = &self.contents[from..from + count * self.width];
        bytes.chunks_exact(self.width).map(|token| match *token {
            [a, b] => u32::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => unreachable!("a token has two bytes or four"),
        })
    }

    /// Bytes that `count` tokens from `start` on stand for.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn raw_bytes_of(&self, start: usize, count: usize) -> u64 {
        self.tokens(start, count).map(|token| u64::from(self.lengths[token as usize])).sum()
    }
}

/// Writes the file, stretch by stretch, each of which must decode to its bytes.
fn encode(
    bytes: &[u8],
    tokenizer: &dyn Tokenizer,
    key: &Key,
    path: &Path,
) -> Result<(), CorpusError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(CorpusError::file("create", folder))?;
    let mut unfinished = Unfinished::beside(path)?;
    let (mut count, mut checksum) = (0, crc32fast::Hasher::new());
    let mut written = unfinished.file().write_all(&[0; HEADER_BYTES]);
    let mut start = 0;
    while start < bytes.len() && written.is_ok() {
        let end = tokenizer.boundary(bytes, start + STRETCH_BYTES);
        let tokens = tokenizer.encode(&bytes[start..end]).map_err(not_lossless)?;
        if tokenizer.decode(&tokens).map_err(not_lossless)? != bytes[start..end] {
            return Err(not_lossless("its tokens decode to different bytes"));
        }
        let packed: Vec<u8> = match key.width {
            2 => tokens.iter().flat_map(|&token| (token as u16).to_le_bytes()).collect(),
            _ => tokens.iter().flat_map(|token| token.to_le_bytes()).collect(),
        };
        ensure_space(folder, packed.len() as u64)?;
        checksum.update(&packed);
        count += tokens.len() as u64;
        written = unfinished.file().write_all(&packed);
        start = end;
    }
    let header = key.header(count, checksum.finalize());
    written
        .and_then(|()| unfinished.file().seek(SeekFrom::Start(0)))
        .and_then(|_| unfinished.file().write_all(&header))
        .map_err(CorpusError::file("write", path))?;
    Ok(unfinished.finish()?)
}

fn not_lossless(why: impl std::fmt::Display) -> CorpusError {
    CorpusError::Tokens { reason: why.to_string() }
}

#[cfg(test)]
mod tests {
    use lmtrain_tokenizers::{BpeTokenizer, ByteTokenizer};

    use super::*;

    fn corpus() -> Corpus {
        let bytes = [&crate::source::SOURCE[..200_000], &[0, 255, 0xc3][..]].concat();
        Corpus::from_bytes("a/b c", bytes)
    }

    fn tokens_of(encoded: &Encoded) -> Vec<u32> {
        encoded.tokens(0, encoded.count()).collect()
    }

    fn files(data: &DataDirectory) -> Vec<PathBuf> {
        let entries = fs::read_dir(data.cache.join("tokens")).expect("a cache");
        entries.map(|entry| entry.expect("one").path()).collect()
    }

    #[test]
    fn tokens_are_kept_and_damage_is_mended() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
        let corpus = corpus();
        let tokenizer = BpeTokenizer::train(&corpus, 600).expect("long enough");
        let span = Span { start: 100, end: corpus.length() };
        let open = || Encoded::open(&corpus, span, &tokenizer, &data).expect("encodes");
        let expected = tokenizer.encode(corpus.slice(span));
        let encoded = open();
        assert_eq!((encoded.count(), encoded.raw_bytes()), (expected.len(), corpus.length() - 100));
        assert!(tokens_of(&encoded) == expected);
        let [first, second] = [(0, 10), (10, encoded.count() - 10)];
        let parts = [first, second].map(|(start, count)| encoded.raw_bytes_of(start, count));
        assert_eq!(parts.iter().sum::<u64>(), encoded.raw_bytes());
        drop(encoded);
        let [path] = &files(&data)[..] else { panic!("one file") };
        let good = fs::read(path).expect("there");
        let half = good.len() / 2;
        for bad in [&good[..half], &good[..good.len() - 1], &good[..10], &[], &good[..1]] {
            fs::write(path, bad).expect("written");
            assert!(tokens_of(&open()) == expected);
            assert!(fs::read(path).expect("there") == good);
        }
        for place in [0, 9, 41, 49, 53, 60, half] {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(path, bad).expect("written");
            assert!(tokens_of(&open()) == expected, "byte {place}");
        }
    }

    #[test]
    fn what_differs_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
        let corpus = corpus();
        let whole = Span { start: 0, end: corpus.length() };
        let [small, large] =
            [300, 500].map(|count| BpeTokenizer::train(&corpus, count).expect("long enough"));
        let empty = Span { start: 5, end: 5 };
        for (span, tokenizer) in [
            (whole, &small as &dyn Tokenizer),
            (whole, &large),
            (Span { end: 1000, ..whole }, &small),
            (whole, &ByteTokenizer),
            (empty, &small),
        ] {
            let encoded = Encoded::open(&corpus, span, tokenizer, &data).expect("encodes");
            let expected = tokenizer.encode(corpus.slice(span)).expect("every byte is a token");
            assert!(tokens_of(&encoded) == expected);
        }
        assert_eq!(files(&data).len(), 5);
    }

    #[test]
    fn many_tokens_take_four_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataDirectory::at(folder.path()).with_cache(folder.path().join("cache"));
        let corpus = Corpus::from_bytes("noise", crate::random::uniform_bytes(1, 200_000));
        let tokenizer = BpeTokenizer::train(&corpus, 66_000).expect("noise has many pairs");
        let span = Span { start: 0, end: corpus.length() };
        let encoded = Encoded::open(&corpus, span, &tokenizer, &data).expect("encodes");
        let tokens = tokens_of(&encoded);
        assert!(tokens == tokenizer.encode(&corpus) && tokens.iter().any(|&it| it > 65_535));
    }
}
