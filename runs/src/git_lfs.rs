//! Git LFS pointers: small text files that stand for large files in repositories that were cloned without these.

/// The first line of every pointer
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>; the second is of before 2014).
const FIRST_LINES: [&[u8]; 2] =
    [b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"];

/// The error for a pointer where the file itself should be, after the file's name and a colon.
pub const GIT_LFS_POINTER: &str =
    "it is a Git LFS pointer, not the file itself\nhint: `git lfs pull` fetches the file";

/// Whether a file with this beginning is a Git LFS pointer.
#[must_use]
pub fn is_git_lfs_pointer(head: &[u8]) -> bool {
    FIRST_LINES.iter().any(|line| head.starts_with(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_from_what_they_stand_for() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        assert!(is_git_lfs_pointer(pointer));
        for other in
            [&b""[..], b"version https://git", b"# LFS\nversion https://git-lfs.github.com/"]
        {
            assert!(!is_git_lfs_pointer(other));
        }
    }
}
