//! Reads a file that an operator put there: a regular one, and no more of it than such a file may have.

use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Take};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A regular file of at most `most` bytes, and no more of it should it grow. A pipe's or a device's path is refused: reading one might never
/// end, and all of the program waits meanwhile.
///
/// # Errors
/// When it cannot be opened, is no file, or is larger.
pub fn open(path: &Path, most: usize) -> io::Result<Take<File>> {
    // Opening a pipe waits for its other end otherwise.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if about.len() > most as u64 {
        return Err(too_large(most));
    }
    Ok(file.take(most as u64 + 1))
}

/// The whole of such a file.
///
/// # Errors
/// As [`open`]'s, and when it cannot be read.
pub fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, most)?.read_to_end(&mut bytes)?;
    // Files of the kernel's have no length.
    if bytes.len() > most { Err(too_large(most)) } else { Ok(bytes) }
}

fn too_large(most: usize) -> io::Error {
    io::Error::other(format!("it is larger than {} KiB", most / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_only_so_much_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe) = (folder.path().join("file"), folder.path().join("pipe"));
        std::fs::write(&file, [7; 2048]).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&file, 2048).unwrap(), [7; 2048]);
        assert_eq!(read(&file, 1024).unwrap_err().to_string(), "it is larger than 1 KiB");
        for odd in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert_eq!(read(odd, 1024).unwrap_err().to_string(), "it is no file", "{}", odd.display());
        }
        assert_eq!(read(&folder.path().join("none"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
