//! Memory that several threads write, each at places of its own.

use std::marker::PhantomData;

/// A slice that several threads write, each at places of its own.
#[derive(Debug)]
pub(crate) struct Shared<'a, T = f32> {
    data: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

// SAFETY: the pointer comes from a `&mut [T]` that is borrowed for 'a; who writes promises disjoint places.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above; several threads may read.
unsafe impl<T: Send + Sync> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(data: &'a mut [T]) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len(), life: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where item `start` lies; up to `end` may be written, by who promises disjoint places.
    pub(crate) fn pointer(&self, start: usize, end: usize) -> *mut T {
        assert!(start <= end && end <= self.len);
        // SAFETY: inside the borrowed slice.
        unsafe { self.data.add(start) }
    }

    /// Some items from `start` on.
    ///
    /// # Safety
    /// No one else touches these places while the slice lives.
    #[allow(
        clippy::mut_from_ref,
        reason = "the point of the type; the caller promises disjoint places"
    )]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.len));
        // SAFETY: inside the borrowed slice; disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }

    /// The same, to read.
    ///
    /// # Safety
    /// No one writes these places while the slice lives.
    pub(crate) unsafe fn read(&self, start: usize, len: usize) -> &'a [T] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.len));
        // SAFETY: inside the borrowed slice; nobody writes there by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data.add(start), len) }
    }
}
