//! Code lengths and codes of one alphabet: Huffman's algorithm with lengths limited by moving
//! overlong codes down, ties broken by depth. After `trees.c` of zlib (J. Gailly and M. Adler),
//! whose choices GNU gzip shares: another order among equals would give other sizes.

/// Longest code of literals and distances.
pub(super) const MAXIMUM_BITS: usize = 15;

/// The code of one alphabet.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    /// Bits of each symbol's code; 0 if it does not occur.
    pub(super) lengths: Vec<u8>,
    /// The codes, reversed: deflate sends the first bit of a code first.
    pub(super) codes: Vec<u16>,
    /// The last symbol that has a code.
    pub(super) last: usize,
}

impl Code {
    /// The code for these frequencies, no code longer than `maximum`. At least two symbols get one,
    /// as decoders want.
    pub(super) fn of(frequencies: &[u32], maximum: usize) -> Self {
        let mut frequencies = frequencies.to_vec();
        let mut used = frequencies.iter().filter(|&&frequency| frequency > 0).count();
        let last_of = |counts: &[u32]| counts.iter().rposition(|&count| count > 0);
        while used < 2 {
            let spare = last_of(&frequencies).map_or(0, |last| if last < 2 { last + 1 } else { 0 });
            frequencies[spare] = 1;
            used += 1;
        }
        let last = last_of(&frequencies).unwrap_or_default();
        Self::with_lengths(Tree::build(&frequencies).lengths(maximum), last)
    }

    /// The canonical code of these lengths.
    pub(super) fn with_lengths(lengths: Vec<u8>, last: usize) -> Self {
        // Of each number of bits: first how many codes are one shorter, then the first code.
        let mut next = [0_u16; MAXIMUM_BITS + 2];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            next[usize::from(length) + 1] += 1;
        }
        for bits in 1..=MAXIMUM_BITS {
            next[bits] = (next[bits] + next[bits - 1]) << 1;
        }
        let mut codes = vec![0; lengths.len()];
        for (code, &length) in codes.iter_mut().zip(&lengths).filter(|(_, length)| **length > 0) {
            let first = &mut next[usize::from(length)];
            *code = first.reverse_bits() >> (16 - u16::from(length));
            *first += 1;
        }
        Self { lengths, codes, last }
    }
}

/// A Huffman tree: leaves first, then the nodes in the order they were joined.
struct Tree {
    leaves: usize,
    parents: Vec<usize>,
    /// Nodes by falling frequency: the root, and so on down.
    order: Vec<usize>,
}

/// The nodes not yet joined, as a heap: the least (frequency, depth) at 1.
struct Heap<'a> {
    nodes: Vec<usize>,
    keys: &'a mut Vec<(u32, u8)>,
}

impl Heap<'_> {
    /// Moves the node at `at` down to its place. Equal keys stay where they are.
    fn sink(&mut self, mut at: usize) {
        let node = self.nodes[at];
        let last = self.nodes.len() - 1;
        while 2 * at <= last {
            let mut child = 2 * at;
            if child < last && self.comes_first(self.nodes[child + 1], self.nodes[child]) {
                child += 1;
            }
            if self.comes_first(node, self.nodes[child]) {
                break;
            }
            self.nodes[at] = self.nodes[child];
            at = child;
        }
        self.nodes[at] = node;
    }

    /// Whether `left` is the lesser; of two equal ones either is.
    fn comes_first(&self, left: usize, right: usize) -> bool {
        self.keys[left] <= self.keys[right]
    }
}

impl Tree {
    fn build(frequencies: &[u32]) -> Self {
        let leaves = frequencies.len();
        let mut keys: Vec<(u32, u8)> =
            frequencies.iter().map(|&frequency| (frequency, 0)).collect();
        let used = (0..leaves).filter(|&symbol| frequencies[symbol] > 0);
        let nodes: Vec<usize> = std::iter::once(usize::MAX).chain(used).collect();
        let mut parents = vec![usize::MAX; leaves];
        let mut order = Vec::new();
        let mut heap = Heap { nodes, keys: &mut keys };
        for at in (1..=(heap.nodes.len() - 1) / 2).rev() {
            heap.sink(at);
        }
        while heap.nodes.len() > 2 {
            let first = heap.nodes.swap_remove(1);
            heap.sink(1);
            let second = heap.nodes[1];
            let (left, right) = (heap.keys[first], heap.keys[second]);
            let joined = parents.len();
            heap.keys.push((left.0 + right.0, left.1.max(right.1) + 1));
            parents.push(usize::MAX);
            parents[first] = joined;
            parents[second] = joined;
            order.extend([first, second]);
            heap.nodes[1] = joined;
            heap.sink(1);
        }
        order.push(heap.nodes[1]);
        order.reverse();
        Self { leaves, parents, order }
    }

    /// Each leaf's depth, none beyond `maximum`.
    fn lengths(&self, maximum: usize) -> Vec<u8> {
        let mut depths = vec![0_usize; self.parents.len()];
        let mut counts = [0_usize; MAXIMUM_BITS + 1];
        let mut overflow = 0;
        for &node in &self.order[1..] {
            let depth = depths[self.parents[node]] + 1;
            depths[node] = depth.min(maximum);
            overflow += usize::from(depth > maximum);
            counts[depths[node]] += usize::from(node < self.leaves);
        }
        if overflow > 0 {
            self.shorten(&mut depths, &mut counts, overflow, maximum);
        }
        depths[..self.leaves].iter().map(|&depth| u8::try_from(depth).unwrap_or(0)).collect()
    }

    /// Moves leaves so that nothing is deeper than `maximum`, then deals the depths out anew: the
    /// rarest leaves the longest.
    fn shorten(
        &self,
        depths: &mut [usize],
        counts: &mut [usize; MAXIMUM_BITS + 1],
        overflow: usize,
        maximum: usize,
    ) {
        for _ in 0..overflow.div_ceil(2) {
            let above = (0..maximum).rev().find(|&bits| counts[bits] > 0).unwrap_or_default();
            counts[above] -= 1;
            counts[above + 1] += 2;
            counts[maximum] -= 1;
        }
        let mut rarest = self.order.iter().rev().filter(|&&node| node < self.leaves);
        for bits in (1..=maximum).rev() {
            for &leaf in rarest.by_ref().take(counts[bits]) {
                depths[leaf] = bits;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kraft(lengths: &[u8]) -> f64 {
        lengths.iter().filter(|&&bits| bits > 0).map(|&bits| 0.5_f64.powi(i32::from(bits))).sum()
    }

    #[test]
    fn codes_are_complete_and_short_enough() {
        let fibonacci = (0..30).scan((1, 1), |pair, _| {
            *pair = (pair.1, pair.0 + pair.1);
            Some(pair.0)
        });
        let frequencies: Vec<u32> = fibonacci.collect();
        for maximum in [7, 15] {
            let code = Code::of(&frequencies, maximum);
            assert!(code.lengths.iter().all(|&bits| (1..=maximum).contains(&usize::from(bits))));
            assert_eq!(kraft(&code.lengths), 1.0);
        }
        assert_eq!(Code::of(&[0, 0, 0, 9], 15).lengths, [1, 0, 0, 1]);
        assert_eq!(Code::of(&[0; 4], 15).lengths, [1, 1, 0, 0]);
    }

    #[test]
    fn the_canonical_code_is_that_of_rfc_1951() {
        let code = Code::with_lengths(vec![3, 3, 3, 3, 3, 2, 4, 4], 7);
        let expected = [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111];
        for ((code, length), expected) in code.codes.iter().zip(&code.lengths).zip(expected) {
            assert_eq!(code.reverse_bits() >> (16 - u16::from(*length)), expected);
        }
    }
}
