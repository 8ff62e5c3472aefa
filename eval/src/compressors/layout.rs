//! Bytes as the pixels of a grey image, for compressors of images.

use std::io;

use lmtrain_runs::Medium;

use super::input::Input;

/// Pixels of a row, and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Layout {
    /// A patch as it is; any other bytes as an image of exactly that many pixels, as nearly square as possible and not
    /// higher than wide: 2048 bytes are 64 wide and 32 high, and a prime number of bytes is one row.
    ///
    /// # Errors
    /// If a row would be longer than images can be.
    pub(super) fn of(input: Input) -> io::Result<Self> {
        if let Medium::GrayImages { width, height } = input.medium
            && u64::from(width) * u64::from(height) == input.length
        {
            return Ok(Self { width, height });
        }
        Self::nearly_square(input.length)
    }

    fn nearly_square(length: u64) -> io::Result<Self> {
        let mut height = length.isqrt().max(1);
        while !length.is_multiple_of(height) {
            height -= 1;
        }
        match (i32::try_from(length / height), u32::try_from(height)) {
            (Ok(width), Ok(height)) => Ok(Self { width: width.unsigned_abs(), height }),
            _ => Err(io::Error::other(format!(
                "the most nearly square image of {length} pixels is {} wide, and no image is wider than 2^31 - 1",
                length / height
            ))),
        }
    }

    /// The same, with rows for columns.
    pub(super) fn transposed(self) -> Self {
        Self { width: self.height, height: self.width }
    }

    pub(super) fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Images that hold all pixels of this one in their order, none with a side longer than `most`: the image itself, if
    /// it is none; otherwise as few as can be of `most` pixels a row, and what remains as a row.
    pub(super) fn no_longer_than(self, most: u32) -> Vec<Self> {
        if self.width.max(self.height) <= most {
            return vec![self];
        }
        let (mut images, mut rest) = (Vec::new(), self.pixels());
        while rest >= u64::from(most) {
            let rows = (rest / u64::from(most)).min(u64::from(most));
            images.push(Self { width: most, height: u32::try_from(rows).unwrap_or(most) });
            rest -= rows * u64::from(most);
        }
        if let Ok(width @ 1..) = u32::try_from(rest) {
            images.push(Self { width, height: 1 });
        }
        images
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(length: u64) -> (u32, u32) {
        let input = Input { medium: Medium::Bytes, length };
        let Layout { width, height } = Layout::of(input).expect("fits");
        (width, height)
    }

    #[test]
    fn images_are_as_square_as_their_length_allows() {
        let expected = [(1, 1), (2, 1), (3, 1), (2, 2), (5, 1), (3, 2)];
        for (length, layout) in (1..).zip(expected) {
            assert_eq!(of(length), layout);
        }
        assert_eq!((of(2048), of(2047), of(1021)), ((64, 32), (89, 23), (1021, 1)));
        assert_eq!(of(100_000_000), (10_000, 10_000));
        let long = Input { medium: Medium::Bytes, length: (1 << 61) - 1 };
        let message = Layout::of(long).expect_err("a prime").to_string();
        assert!(message.contains("2305843009213693951 wide"), "{message}");
    }

    #[test]
    fn a_patch_keeps_its_shape() {
        let medium = Medium::GrayImages { width: 16, height: 128 };
        let layout = Layout::of(Input { medium, length: 2048 }).expect("fits");
        assert_eq!(layout, Layout { width: 16, height: 128 });
        assert_eq!(layout.transposed(), Layout { width: 128, height: 16 });
        let two = Layout::of(Input { medium, length: 4096 }).expect("fits");
        assert_eq!(two, Layout { width: 64, height: 64 });
    }

    #[test]
    fn what_is_too_long_is_several_images() {
        let sides = |width, height| -> Vec<_> {
            let images = Layout { width, height }.no_longer_than(100);
            assert!(images.iter().all(|image| image.width.max(image.height) <= 100));
            images.iter().map(|image| (image.width, image.height)).collect()
        };
        assert_eq!(sides(100, 100), [(100, 100)]);
        assert_eq!(sides(101, 1), [(100, 1), (1, 1)]);
        assert_eq!(sides(10_007, 3), [(100, 100), (100, 100), (100, 100), (21, 1)]);
        assert_eq!(sides(200, 3), [(100, 6)]);
    }
}
