//! Memory that is used again: fresh pages are slower than the arithmetic on them.

use crate::parallel::calls_loops;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Floats that are used again when dropped: a thread's workspace by that thread. What the loops of a team are called with belongs to no
/// thread, since another one of the pool leads the next time and yet another one drops the results.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<f32>,
    len: usize,
    /// The thread whose workspace it is, if any.
    home: Option<usize>,
}

/// Bytes that one list keeps at most.
const KEEP: usize = 1 << 28;

/// Pieces that one list keeps at most; small ones make way for large ones.
const LIST: usize = 64;

thread_local! {
    static OWN: RefCell<Free> = const { RefCell::new(Free(Vec::new())) };
}

/// What belongs to no thread, or was dropped by another one.
static COMMON: Mutex<Free> = Mutex::new(Free(Vec::new()));

/// Pieces that wait to be used again.
struct Free(Vec<Vec<f32>>);

impl Free {
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let fits = |v: &Vec<f32>| v.len() >= len && v.len() <= 4 * len + 4096;
        let all = 0..self.0.len();
        let best = all.filter(|&i| fits(&self.0[i])).min_by_key(|&i| self.0[i].len());
        best.map(|i| self.0.remove(i))
    }

    /// Keeps a piece, and gives those back that must make way: the oldest ones, or the smallest.
    fn put(&mut self, data: Vec<f32>) -> Vec<Vec<f32>> {
        let most = KEEP / size_of::<f32>();
        if data.len() > most {
            return vec![data];
        }
        let mut out = Vec::new();
        let mut kept: usize = self.0.iter().map(Vec::len).sum();
        while kept + data.len() > most {
            out.push(self.0.remove(0));
            kept -= out.last().map_or(0, Vec::len);
        }
        self.0.push(data);
        if self.0.len() > LIST {
            let small = (0..self.0.len()).min_by_key(|&i| self.0[i].len());
            out.extend(small.map(|i| self.0.remove(i)));
        }
        out
    }
}

fn common() -> MutexGuard<'static, Free> {
    COMMON.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that no other living thread has; none where the thread is ending.
fn this_thread() -> Option<usize> {
    OWN.try_with(|own| own.as_ptr().addr()).ok()
}

impl Buffer {
    /// `len` floats of any value: for outputs that are written whole.
    pub(crate) fn dirty(len: usize) -> Self {
        if len == 0 {
            return Self::default();
        }
        let home = if calls_loops() { None } else { this_thread() };
        let own = home.and_then(|_| OWN.with_borrow_mut(|own| own.take(len)));
        let mut data = own.or_else(|| common().take(len)).unwrap_or_default();
        if data.len() < len {
            data = vec![0.0; len];
        }
        // A test must notice what is read without having been written.
        #[cfg(test)]
        data[..len].fill(f32::NAN);
        Self { data, len, home }
    }

    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut buffer = Self::dirty(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return;
        }
        // What is not kept goes when nobody waits for the list.
        let _gone = if self.home.is_some() && self.home == this_thread() {
            OWN.with_borrow_mut(|own| own.put(data))
        } else {
            common().put(data)
        };
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.data[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::{Free, KEEP, LIST};

    #[test]
    fn lists_stay_within_their_limits_and_renew_themselves() {
        let mut free = Free(Vec::new());
        let quarter = KEEP / size_of::<f32>() / 4;
        for _ in 0..4 {
            assert!(free.put(vec![0.0; quarter]).is_empty());
        }
        assert_eq!(free.put(vec![0.0; 10]).len(), 1);
        assert_eq!(
            free.0.iter().map(Vec::len).collect::<Vec<_>>(),
            [quarter, quarter, quarter, 10]
        );
        assert_eq!(free.put(vec![0.0; 4 * quarter + 1]).len(), 1);
        let mut free = Free((1..=LIST).map(|n| vec![0.0; n]).collect());
        let gone: Vec<usize> = free.put(vec![0.0; 7]).iter().map(Vec::len).collect();
        assert_eq!((gone, free.0.len()), (vec![1], LIST));
        assert_eq!(free.take(60).map(|v| v.len()), Some(60));
        assert_eq!(free.take(2000).map(|v| v.len()), None);
    }
}
