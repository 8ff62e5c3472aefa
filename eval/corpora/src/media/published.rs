//! The published sets of images and sounds, and how a download is verified.

use super::MediaKind;

/// A folder of images or sounds that can be downloaded.
#[derive(Debug)]
pub struct PublishedSet {
    pub(crate) kind: MediaKind,
    pub(crate) origin: Origin,
}

/// Where a set comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A `.tar.gz` of all files.
    Archive {
        url: &'static str,
        /// As published, hexadecimal.
        md5: &'static str,
        /// Bytes of its files, about.
        unpacked_bytes: u64,
    },
    /// Images one by one, under an address that ends in a slash. Nobody publishes their checksums: that each decodes
    /// and has the size that it should is all that can be seen.
    Images {
        url: &'static str,
        names: &'static [&'static str],
        /// Of either side, the longer first.
        pixels: [u32; 2],
    },
}

/// Kodak's photographs, on the page that they are known from.
pub(crate) const KODAK: PublishedSet = PublishedSet {
    kind: MediaKind::Images,
    origin: Origin::Images {
        url: "https://r0k.us/graphics/kodak/kodak/",
        names: &[
            "kodim01.png",
            "kodim02.png",
            "kodim03.png",
            "kodim04.png",
            "kodim05.png",
            "kodim06.png",
            "kodim07.png",
            "kodim08.png",
            "kodim09.png",
            "kodim10.png",
            "kodim11.png",
            "kodim12.png",
            "kodim13.png",
            "kodim14.png",
            "kodim15.png",
            "kodim16.png",
            "kodim17.png",
            "kodim18.png",
            "kodim19.png",
            "kodim20.png",
            "kodim21.png",
            "kodim22.png",
            "kodim23.png",
            "kodim24.png",
        ],
        pixels: [768, 512],
    },
};

/// LibriSpeech (Panayotov et al., ICASSP 2015), <https://www.openslr.org/12>, CC BY 4.0; the MD5 sums are from there.
pub(crate) const LIBRISPEECH_DEV_CLEAN: PublishedSet = PublishedSet {
    kind: MediaKind::Audio,
    origin: Origin::Archive {
        url: "https://www.openslr.org/resources/12/dev-clean.tar.gz",
        md5: "42e2234ba48799c1f50f24a7926300a1",
        unpacked_bytes: 360_000_000,
    },
};

/// Another part of it.
pub(crate) const LIBRISPEECH_TEST_CLEAN: PublishedSet = PublishedSet {
    kind: MediaKind::Audio,
    origin: Origin::Archive {
        url: "https://www.openslr.org/resources/12/test-clean.tar.gz",
        md5: "32fa31d27d2e1cad72775fee3f4849a9",
        unpacked_bytes: 370_000_000,
    },
};
