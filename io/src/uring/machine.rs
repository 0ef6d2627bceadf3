//! Facts about this machine that a user must know before a job runs on it, and of which the command line warns.
//!
//! Each fact is queried once, on request, and through no ring, except whether rings are available: this also works where io_uring is denied. The engine
//! uses none of it.

use super::{UringCores, availability, open_files};
use crate::{CoreGroup, CoreMain, Cores, IoError, StartError};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

/// Starts `cores` cores, which takes a ring each, and lets them end at once.
///
/// # Errors
/// If they cannot be started; says why, and the cure.
pub fn try_starting(cores: usize) -> Result<(), StartError> {
    let main = |_| -> CoreMain { Box::new(|_, _| Box::pin(std::future::ready(()))) };
    UringCores::new().start((0..cores).map(main).collect()).map(CoreGroup::join)
}

/// The locked memory that the rings of `cores` cores need, in bytes, if the kernel charges rings to it.
#[must_use]
pub fn locked_memory_needed(cores: usize) -> u64 {
    availability::memlock_bytes(cores)
}

/// Whether this kernel, judged by its release, charges rings to the memory that a process may lock. A process with CAP_IPC_LOCK is never charged.
#[must_use]
pub fn charges_rings() -> bool {
    // SAFETY: an all-zero utsname is a valid value, and the call fills it in.
    let names = unsafe {
        let mut names: libc::utsname = std::mem::zeroed();
        if libc::uname(&raw mut names) != 0 {
            return true;
        }
        names
    };
    let release: Vec<u8> = names.release.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    availability::charges_rings(&String::from_utf8_lossy(&release))
}

/// The limit on the memory that this process may lock, in bytes.
///
/// # Errors
/// If the system call fails.
pub fn locked_memory_limit() -> Result<u64, IoError> {
    availability::memlock_limit().map_err(|error| IoError::new("learn", "the limit on locked memory", error))
}

/// How many files and sockets a process started here may have open after it has raised its limit.
///
/// # Errors
/// If the system call fails.
pub fn open_files_limit() -> Result<u64, IoError> {
    open_files::limit().map(|limit| limit.hard).map_err(|error| IoError::new("learn", "the limit on open files", error))
}

/// The bytes that this user may still write to the file system of `path`.
///
/// # Errors
/// If there is no such path, or the system call fails.
pub fn free_bytes(path: &Path) -> Result<u64, IoError> {
    let fail = |error| IoError::at("learn the free space of", path, error);
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| fail(error.into()))?;
    // SAFETY: an all-zero statvfs is a valid value, and the call fills it in; the name ends with a zero and outlives the call.
    let space = unsafe {
        let mut space: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(name.as_ptr(), &raw mut space) != 0 {
            return Err(fail(io::Error::last_os_error()));
        }
        space
    };
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Writes a block into an unnamed file in the folder `dir`, and makes it durable. Leaves nothing behind.
///
/// # Errors
/// If nothing can be written there; says why.
pub fn try_writing(dir: &Path) -> Result<(), IoError> {
    let fail = |error| IoError::at("write into", dir, error);
    match OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(dir) {
        Ok(mut file) => file.write_all(&[0; 4096]).and_then(|()| file.sync_all()).map_err(fail),
        // Not every file system supports unnamed files.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let name = CString::new(dir.as_os_str().as_bytes()).map_err(|error| fail(error.into()))?;
            // SAFETY: the name ends with a zero and outlives the call.
            match unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) } {
                0 => Ok(()),
                _ => Err(fail(io::Error::last_os_error())),
            }
        }
        Err(error) => Err(fail(error)),
    }
}

/// Whether `path` is a folder; `None` if there is nothing.
///
/// # Errors
/// If the system call fails.
pub fn is_folder(path: &Path) -> Result<Option<bool>, IoError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.is_dir())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(IoError::at("look at", path, error)),
    }
}

/// The permissions of the file at `path`: the lowest nine bits, as for `chmod`.
///
/// # Errors
/// If there is no such file, or the system call fails.
pub fn permissions(path: &Path) -> Result<u32, IoError> {
    std::fs::metadata(path).map(|metadata| metadata.mode() & 0o777).map_err(|error| IoError::at("look at", path, error))
}

/// Listens at `address` for a moment.
///
/// # Errors
/// If nobody can listen there; says why.
pub fn try_listening(address: SocketAddr) -> Result<(), IoError> {
    TcpListener::bind(address).map(drop).map_err(|error| IoError::new("listen at", address, error))
}

/// The wall-clock time, in milliseconds since 1970; 0 before.
#[must_use]
pub fn wall_clock_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_to_and_nothing_is_left_there() {
        let dir = tempfile::tempdir().unwrap();
        try_writing(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(free_bytes(dir.path()).unwrap() > 0);
        let nowhere = dir.path().join("nowhere");
        assert_eq!((is_folder(dir.path()).unwrap(), is_folder(&nowhere).unwrap()), (Some(true), None));
        assert_eq!(try_writing(&nowhere).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(free_bytes(&nowhere).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn whether_rings_are_charged_is_told_by_the_release_of_this_kernel() {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(charges_rings(), availability::charges_rings(&release), "{release}");
        assert!(locked_memory_needed(2) > locked_memory_needed(1));
    }

    #[test]
    fn an_address_that_is_taken_is_found_out() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(try_listening(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        try_listening(address).unwrap();
    }
}
