//! Files that the guest has open, by number; numbers are never given twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::fuse::errno::{Errno, Outcome};
use crate::os::File;
use crate::server::backed::Way;

/// One `open` of the guest.
pub(crate) struct Handle {
    pub(crate) node: u64,
    pub(crate) file: Arc<File>,
    pub(crate) write: bool,
    /// Its closing tells nothing until the last one: locks of ranges end then.
    pub(crate) quiet_close: bool,
    /// How the guest's kernel reads it.
    pub(crate) way: Way,
}

/// All that the guest has open.
pub(crate) struct Handles {
    by_number: RwLock<HashMap<u64, Arc<Handle>>>,
    next: AtomicU64,
    most: usize,
}

impl Handles {
    pub(crate) fn new(most: usize) -> Handles {
        Handles { by_number: RwLock::default(), next: AtomicU64::new(1), most }
    }

    pub(crate) fn add(&self, handle: Handle) -> Outcome<u64> {
        let mut handles = self.by_number.write().unwrap_or_else(PoisonError::into_inner);
        if handles.len() >= self.most {
            return Err(Errno::NFILE);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        handles.insert(number, Arc::new(handle));
        Ok(number)
    }

    /// The handle, if it is one of that node: a guest that mixes them up gets EBADF.
    pub(crate) fn get(&self, number: u64, node: u64) -> Outcome<Arc<Handle>> {
        let handles = self.by_number.read().unwrap_or_else(PoisonError::into_inner);
        handles.get(&number).filter(|handle| handle.node == node).cloned().ok_or(Errno::BADF)
    }

    pub(crate) fn remove(&self, number: u64, node: u64) -> Outcome<Arc<Handle>> {
        let mut handles = self.by_number.write().unwrap_or_else(PoisonError::into_inner);
        match handles.get(&number) {
            Some(handle) if handle.node == node => handles.remove(&number).ok_or(Errno::BADF),
            _ => Err(Errno::BADF),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
