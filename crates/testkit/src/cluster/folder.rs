//! The folder of one cluster, and the removal of folders whose owner died.
//!
//! The owner holds a lock on the file `owner` in it for as long as it lives; the kernel lets go of it when the
//! owner dies in whatever way. A folder whose lock can be taken is therefore stale. It gets its final name only
//! once it is locked, so no sweep ever sees a new folder without its lock.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{statfs, statvfs};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::spawn::{Identity, is_alive};
use super::{ClusterError, ClusterOptions};

const PREFIX: &str = "perennial-pg-";
const UNFINISHED_PREFIX: &str = "perennial-new-";
const OWNER_FILE: &str = "owner";
const MEMORY_FOLDER: &str = "/dev/shm";
/// Room in memory below which the disk is used: tests keep some hundred databases of 8 MB and their log.
const MEMORY_NEEDED_BYTES: u64 = 2 << 30;
/// Longest path of a Unix socket that every system takes.
const SOCKET_PATH_MAX: usize = 107;
/// What a cluster's own names add to its base: the folder's name and the socket's.
const OWN_NAMES_MAX: usize = 50;
/// How long a server whose owner died may take to end before its folder is removed under it.
const ORPHAN_LIMIT: Duration = Duration::from_secs(6);

/// `f_type` of file systems that live in memory: tmpfs and ramfs.
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// Where to put the folder: in memory when there is room; for a durable cluster on a disk.
pub(super) fn choose_base(options: &ClusterOptions) -> Result<PathBuf, ClusterError> {
    if let Some(base) = &options.base {
        return Ok(base.clone());
    }
    if !options.durable && memory_has_room() {
        return Ok(PathBuf::from(MEMORY_FOLDER));
    }
    let candidates = [env::temp_dir(), PathBuf::from("/var/tmp"), PathBuf::from("/tmp")];
    let fit = |base: &PathBuf| is_reachable(base) && !(options.durable && is_in_memory(base));
    candidates.into_iter().find(fit).ok_or_else(|| {
        let wanted = if options.durable { " on a disk" } else { "" };
        ClusterError::NoFolder(format!(
            "neither TMPDIR nor /var/tmp nor /tmp is a folder{wanted} with a short path that others may enter"
        ))
    })
}

fn memory_has_room() -> bool {
    statvfs(MEMORY_FOLDER).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) > MEMORY_NEEDED_BYTES)
}

fn is_in_memory(path: &Path) -> bool {
    // The kernel's numbers have 32 bits; the field is wider or signed on some machines.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    statfs(path).is_ok_and(|fs| IN_MEMORY.contains(&(fs.f_type as u32)))
}

/// Whether a server of another user gets to a folder in it (every part may be entered by all), by a path short enough.
fn is_reachable(base: &Path) -> bool {
    const ALL_MAY_ENTER: u32 = 0o001;
    let short = base.as_os_str().as_bytes().len() + OWN_NAMES_MAX <= SOCKET_PATH_MAX;
    let open = !geteuid().is_root()
        || base.ancestors().all(|part| fs::metadata(part).is_ok_and(|meta| meta.mode() & ALL_MAY_ENTER != 0));
    short && open && base.is_dir() && base.is_absolute()
}

/// A cluster's folder, locked by this process. Removed on drop unless it is to be kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
    /// Held, never read: the open file is the lock.
    _lock: File,
}

impl Folder {
    pub(super) fn create(base: &Path, identity: Identity, keep: bool) -> Result<Self, ClusterError> {
        let name = format!("{:x}-{:08x}", std::process::id(), random() >> 32);
        let unfinished = base.join(format!("{UNFINISHED_PREFIX}{name}"));
        let path = base.join(format!("{PREFIX}{name}"));
        let failed = |what: &str| ClusterError::system(format!("{what} {}", unfinished.display()));
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(failed("make the folder"))?;
        let lock = File::create_new(unfinished.join(OWNER_FILE)).map_err(failed("lock the folder"))?;
        lock.try_lock().map_err(|error| failed("lock the folder")(error.into()))?;
        if let Identity::Other { uid, gid } = identity {
            chown(&unfinished, Some(uid), Some(gid)).map_err(failed("give away the folder"))?;
        }
        fs::rename(&unfinished, &path).map_err(failed("rename the folder"))?;
        Ok(Self { path, keep, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn remove(&self) -> Result<(), ClusterError> {
        if !self.path.exists() {
            return Ok(());
        }
        if self.keep {
            // Without this file no sweep takes the folder for a dead owner's.
            return match fs::remove_file(self.path.join(OWNER_FILE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(ClusterError::system("keep the folder")(error))
                }
                _ => Ok(()),
            };
        }
        fs::remove_dir_all(&self.path)
            .map_err(ClusterError::system(format!("remove the folder {}", self.path.display())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // There is nobody to tell; the next sweep tries again.
        let _swept_later = self.remove();
    }
}

/// Removes the folders in `base` whose owner is dead, after stopping what still runs in them.
pub(super) fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && let Some(_lock) = lock_of_the_dead(&entry.path()) {
            stop_orphan(&entry.path());
            // It may belong to another sweep that runs at the same time, or be kept by the system; it is tried again.
            let _next_sweep = fs::remove_dir_all(entry.path());
        }
    }
}

/// The lock of a folder nobody owns any more. `None`: its owner lives, or the folder is another user's.
fn lock_of_the_dead(folder: &Path) -> Option<File> {
    let file = folder.join(OWNER_FILE);
    let meta = fs::symlink_metadata(&file).ok()?;
    if !meta.is_file() || meta.uid() != geteuid().as_raw() || fs::symlink_metadata(folder).ok()?.is_symlink() {
        return None;
    }
    let lock = File::open(&file).ok()?;
    lock.try_lock().ok()?;
    Some(lock)
}

/// Stops a server that is still running in a stale folder: rare, since the kernel stops it with its owner.
fn stop_orphan(folder: &Path) {
    let Some(pid) = running_server(folder) else { return };
    // Ended between the look and the signal: then there is nothing to stop.
    let _gone_already = kill_process(pid, Signal::QUIT);
    let asked = Instant::now();
    while is_alive(pid) && asked.elapsed() < ORPHAN_LIMIT {
        thread::sleep(Duration::from_millis(20));
    }
}

fn running_server(folder: &Path) -> Option<Pid> {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    // The number may have been given to another process since.
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let names_folder =
        command_line.split(|&byte| byte == 0).any(|argument| argument.starts_with(folder.as_os_str().as_bytes()));
    if names_folder { Pid::from_raw(pid) } else { None }
}

/// Random enough to keep two folders apart: std seeds it from the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
