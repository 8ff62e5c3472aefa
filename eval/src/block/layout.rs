//! How the chunks of a block are divided: into streams for the cores and groups for the predictor; and how the streams'
//! bytes are arranged in one payload.

use std::ops::Range;

use crate::coder::CoderError;

/// Tokens that a stream has at least, where chunks are short.
const STREAM_TOKENS: usize = 1 << 16;
/// Chunks that a stream of short chunks has at most.
const MOST_CHUNKS: usize = 4096;

/// How a block's chunks are divided into streams and groups; a decoder must know this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Most chunks of a stream. More cost fewer bytes; fewer let more cores decode.
    pub stream_chunks: u16,
    /// Chunks predicted side by side. More share the reading of the weights; fewer let their
    /// contexts stay in a core's caches.
    pub group_chunks: u16,
}

impl Default for Layout {
    /// Streams of 32 chunks of 2048 bytes cost three bytes each: under 0.02 % of what they code.
    fn default() -> Self {
        Self { stream_chunks: 32, group_chunks: 4 }
    }
}

impl Layout {
    /// The default layout for chunks of this many tokens: streams have more chunks if these are short, since the end
    /// of a stream costs some bytes.
    #[must_use]
    pub fn of_chunks(tokens: usize) -> Self {
        let usual = Self::default();
        let chunks = (STREAM_TOKENS / tokens.max(1)).clamp(usual.stream_chunks.into(), MOST_CHUNKS);
        Self { stream_chunks: u16::try_from(chunks).unwrap_or(usual.stream_chunks), ..usual }
    }

    /// Chunks of a group, at least one.
    pub(super) fn group(self) -> usize {
        usize::from(self.group_chunks.max(1))
    }

    /// How many streams so many chunks make.
    #[must_use]
    pub fn stream_count(self, chunks: usize) -> usize {
        chunks.div_ceil(usize::from(self.stream_chunks.max(1)))
    }

    /// The chunks of each stream, as even as can be.
    pub(super) fn streams(self, chunks: usize) -> Vec<Range<usize>> {
        let count = self.stream_count(chunks);
        (0..count).map(|index| index * chunks / count..(index + 1) * chunks / count).collect()
    }

    /// The chunks of each group, stream by stream.
    pub(super) fn groups(self, chunks: usize) -> Vec<Range<usize>> {
        let groups = |stream: Range<usize>| {
            let end = stream.end;
            stream.step_by(self.group()).map(move |start| start..end.min(start + self.group()))
        };
        self.streams(chunks).into_iter().flat_map(groups).collect()
    }
}

/// The payload of some streams.
pub(super) fn join(streams: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for stream in streams.split_last().map_or(&[][..], |(_, others)| others) {
        let mut rest = stream.len();
        while rest >= 128 {
            payload.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        payload.push(rest as u8);
    }
    streams.iter().for_each(|stream| payload.extend(stream));
    payload
}

/// The streams of a payload, of which there are so many.
pub(super) fn split(payload: &[u8], count: usize) -> Result<Vec<&[u8]>, CoderError> {
    let truncated = |needed| CoderError::Truncated { needed, length: payload.len() };
    if count == 0 {
        let (needed, length) = (0, payload.len());
        let surplus = CoderError::Surplus { needed, length };
        return if payload.is_empty() { Ok(Vec::new()) } else { Err(surplus) };
    }
    let (mut lengths, mut at) = (Vec::new(), 0);
    while lengths.len() + 1 < count {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = *payload.get(at).ok_or_else(|| truncated(at + 1))?;
            // No stream is as long as 2^35 bytes.
            if shift > 28 {
                return Err(CoderError::Damaged { at });
            }
            at += 1;
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        lengths.push(length);
    }
    let (mut streams, mut rest) = (Vec::new(), &payload[at..]);
    for length in lengths {
        let (stream, after) =
            rest.split_at_checked(length).ok_or_else(|| truncated(payload.len() + 1))?;
        streams.push(stream);
        rest = after;
    }
    streams.push(rest);
    Ok(streams)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_tile_the_chunks(
            chunks in 0_usize..200, stream_chunks in 0_u16..40, group_chunks in 0_u16..40,
        ) {
            let layout = Layout { stream_chunks, group_chunks };
            let streams = layout.streams(chunks);
            prop_assert_eq!(streams.len(), layout.stream_count(chunks));
            for parts in [streams, layout.groups(chunks)] {
                let all: Vec<usize> = parts.iter().cloned().flatten().collect();
                prop_assert_eq!(all, (0..chunks).collect::<Vec<_>>());
                prop_assert!(parts.iter().all(|part| !part.is_empty()));
            }
        }

        #[test]
        fn streams_split_as_they_were_joined(
            streams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..9),
        ) {
            let payload = join(&streams);
            let found = split(&payload, streams.len()).expect("whole");
            prop_assert!(found.iter().zip(&streams).all(|(found, stream)| found == stream));
            prop_assert_eq!(found.len(), streams.len());
        }

        #[test]
        fn any_bytes_split_or_are_refused(
            payload in prop::collection::vec(any::<u8>(), 0..60), count in 0_usize..9,
        ) {
            if let Ok(streams) = split(&payload, count) {
                prop_assert_eq!(streams.len(), count);
                prop_assert!(streams.iter().map(|stream| stream.len()).sum::<usize>() <= payload.len());
            }
        }
    }
}
