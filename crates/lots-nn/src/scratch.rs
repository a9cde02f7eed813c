//! Memory that is used again: fresh pages are slower than the arithmetic on them.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Floats that return to a list of the thread when dropped.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<f32>,
    len: usize,
}

/// Bytes that one thread keeps at most.
const KEEP: usize = 1 << 28;

/// Pieces that one thread keeps at most; small ones make way for large ones.
const LIST: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

impl Buffer {
    /// `len` floats of any value: for outputs that are written whole.
    pub(crate) fn dirty(len: usize) -> Self {
        let mut data = FREE
            .try_with(|free| {
                let mut free = free.borrow_mut();
                let fits = |v: &Vec<f32>| v.len() >= len && v.len() <= 4 * len + 4096;
                let best =
                    (0..free.len()).filter(|&i| fits(&free[i])).min_by_key(|&i| free[i].len());
                best.map(|i| free.swap_remove(i))
            })
            .ok()
            .flatten()
            .unwrap_or_default();
        if data.len() < len {
            data = vec![0.0; len];
        }
        // A test must notice what is read without having been written.
        #[cfg(test)]
        data[..len].fill(f32::NAN);
        Self { data, len }
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
        // Nothing to do where the thread is ending.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.iter().map(Vec::len).sum::<usize>() + data.len() > KEEP / size_of::<f32>() {
                return;
            }
            if free.len() < LIST {
                free.push(data);
            } else if let Some(small) = free.iter_mut().min_by_key(|v| v.len())
                && small.len() < data.len()
            {
                *small = data;
            }
        });
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
