//! Hearing what changes in directories, from the system: Linux tells of every change in a directory that it makes
//! itself, whichever process asks for it, before that process has its answer. Of what other hosts do on a shared volume
//! it knows nothing, so only file systems of this host are listened to.

use std::collections::HashSet;
use std::ffi::CString;

use rustix::fd::OwnedFd;

/// How many names are kept of one directory until somebody asks: more are as many as reading it again is worth.
const MAX_NAMES: usize = 4096;

/// What was heard of one directory.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) names: HashSet<CString>,
    /// Whether there was more than names tell: too many of them, or something about the directory itself.
    pub(crate) lost: bool,
}

impl Changes {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is heard there"))]
    fn add(&mut self, name: Option<&std::ffi::CStr>) {
        match name.filter(|_| !self.lost && self.names.len() < MAX_NAMES) {
            // A file that is being written changes nothing until it has another name.
            Some(name) if name.to_bytes().starts_with(crate::key::RESERVED.as_bytes()) => {}
            Some(name) => drop(self.names.insert(name.to_owned())),
            None => *self = Self { names: HashSet::new(), lost: true },
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use self::linux::{Listener, Watcher};
#[cfg(not(target_os = "linux"))]
pub(super) use self::none::{Listener, Watcher};

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::mem::MaybeUninit;
    use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

    use rustix::fd::AsRawFd;
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

    use super::{Changes, OwnedFd};

    /// ext2 to ext4, XFS, Btrfs, tmpfs, F2FS, ZFS, bcachefs and the overlays of containers, by their numbers in `statfs`.
    const OF_THIS_HOST: [u32; 8] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e, 0x794c_7630];

    const CHANGES: WatchFlags = WatchFlags::CREATE
        .union(WatchFlags::DELETE)
        .union(WatchFlags::MOVED_FROM)
        .union(WatchFlags::MOVED_TO)
        .union(WatchFlags::DELETE_SELF)
        .union(WatchFlags::MOVE_SELF)
        .union(WatchFlags::ONLYDIR);

    /// Nothing of the system's is used before the first directory is listened to, and nothing if it has none to spare.
    #[derive(Debug, Default)]
    pub(crate) struct Watcher(OnceLock<Option<Arc<Ear>>>);

    #[derive(Debug)]
    struct Ear {
        fd: OwnedFd,
        /// Those who listen, by the system's number of the directory: it has one for each, however many listen.
        heard: Mutex<HashMap<i32, Vec<(u64, Changes)>>>,
    }

    /// Who listens to a directory, until dropped.
    #[derive(Debug)]
    pub(crate) struct Listener {
        ear: Arc<Ear>,
        directory: i32,
        id: u64,
    }

    impl Watcher {
        /// Listens to a directory from now on; none if its changes cannot be heard.
        pub(crate) fn listen(&self, directory: &OwnedFd) -> Option<Listener> {
            let kind = rustix::fs::fstatfs(directory).ok()?.f_type;
            if !u32::try_from(kind).is_ok_and(|kind| OF_THIS_HOST.contains(&kind)) {
                return None;
            }
            self.0.get_or_init(Ear::new).as_ref()?.listen(directory)
        }
    }

    impl Ear {
        fn new() -> Option<Arc<Self>> {
            let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
            Some(Arc::new(Self { fd, heard: Mutex::default() }))
        }

        // Nothing panics while it is locked.
        fn heard(&self) -> MutexGuard<'_, HashMap<i32, Vec<(u64, Changes)>>> {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn listen(self: &Arc<Self>, directory: &OwnedFd) -> Option<Listener> {
            let mut heard = self.heard();
            // What is open, and not what lies at its path by now.
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            let directory = inotify::add_watch(&self.fd, path, CHANGES).ok()?;
            let listeners = heard.entry(directory).or_default();
            let id = listeners.last().map_or(0, |(id, _)| id + 1);
            listeners.push((id, Changes::default()));
            Some(Listener { ear: Arc::clone(self), directory, id })
        }

        /// Takes all that the system has to tell.
        fn hear(&self, heard: &mut HashMap<i32, Vec<(u64, Changes)>>) {
            let mut buffer = [MaybeUninit::uninit(); 16 << 10];
            let mut events = Reader::new(&self.fd, &mut buffer);
            // It says that there is no more by an error.
            while let Ok(event) = events.next() {
                if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    heard.values_mut().flatten().for_each(|(_, changes)| changes.add(None));
                } else {
                    let listeners = heard.get_mut(&event.wd());
                    listeners.into_iter().flatten().for_each(|(_, changes)| changes.add(event.file_name()));
                }
            }
        }
    }

    impl Listener {
        /// What has changed since the last time.
        pub(crate) fn take(&self) -> Changes {
            let mut heard = self.ear.heard();
            self.ear.hear(&mut heard);
            let listeners = heard.get_mut(&self.directory);
            let own = listeners.and_then(|all| all.iter_mut().find(|(id, _)| *id == self.id));
            own.map(|(_, changes)| std::mem::take(changes)).unwrap_or_default()
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            let mut heard = self.ear.heard();
            let Some(listeners) = heard.get_mut(&self.directory) else { return };
            listeners.retain(|(id, _)| *id != self.id);
            if listeners.is_empty() {
                heard.remove(&self.directory);
                // It has gone by itself if the directory has.
                let _ = inotify::remove_watch(&self.ear.fd, self.directory);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use super::{Changes, OwnedFd};

    /// Hears nothing.
    #[derive(Debug, Default)]
    pub(crate) struct Watcher;

    #[derive(Debug)]
    pub(crate) enum Listener {}

    impl Watcher {
        #[expect(clippy::unused_self, reason = "where there is something to hear it is used")]
        pub(crate) const fn listen(&self, _directory: &OwnedFd) -> Option<Listener> {
            None
        }
    }

    impl Listener {
        pub(crate) fn take(&self) -> Changes {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
