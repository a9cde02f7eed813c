//! Planes copied to the middle of other planes.

use super::Run;
use crate::parallel::{TASKS, for_each, share, worth};
use crate::shared::Shared;

/// Where the numbers that two planes share lie in one of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    /// Height and width.
    pub(super) size: [usize; 2],
    /// Row and column of the first number that both have.
    pub(super) first: [usize; 2],
}

impl Plane {
    /// Copies to `planes` planes what others, which lie as `there`, share with them; zeros elsewhere.
    pub(super) fn place(self, run: Run, planes: usize, to: &mut [f32], from: &[f32], there: Self) {
        let shared = |axis: usize| {
            let left = |plane: &Self| plane.size[axis].saturating_sub(plane.first[axis]);
            left(&self).min(left(&there))
        };
        let (rows, columns, lanes) = (shared(0), shared(1), run.lanes);
        let ([height, width], [top, left]) = (self.size, self.first);
        let parallel = run.parallel && worth(to.len());
        let tasks = if parallel { TASKS.min(height) } else { 1 };
        let to = Shared::new(to);
        // Each thread has rows of its own of all planes.
        for_each(parallel, tasks, |task| {
            for plane in 0..planes {
                for y in share(height, task, tasks) {
                    let line = width * lanes;
                    // SAFETY: this row is written by this call alone.
                    let to = unsafe { to.slice((plane * height + y) * line, line) };
                    let row = y.checked_sub(top).filter(|row| *row < rows && columns > 0);
                    let Some(row) = row else {
                        to.fill(0.0);
                        continue;
                    };
                    let row = (plane * there.size[0] + there.first[0] + row) * there.size[1];
                    let from = &from[(row + there.first[1]) * lanes..][..columns * lanes];
                    let (before, to) = to.split_at_mut(left * lanes);
                    let (now, behind) = to.split_at_mut(columns * lanes);
                    before.fill(0.0);
                    now.copy_from_slice(from);
                    behind.fill(0.0);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::network::ReluRule;

    #[test]
    fn planes_by_hand() {
        let run =
            Run { isa: Isa::best(), parallel: true, lanes: 1, relu: ReluRule::Slope, first: 0 };
        let place = |to: Plane, x: &[f32], from: Plane| {
            let mut y =
                vec![f32::NAN; x.len() / from.size[0] / from.size[1] * to.size[0] * to.size[1]];
            to.place(run, x.len() / from.size[0] / from.size[1], &mut y, x, from);
            y
        };
        let small = Plane { size: [1, 2], first: [0, 0] };
        let large = Plane { size: [2, 4], first: [1, 1] };
        let wide = place(large, &[1.0, 2.0, 3.0, 4.0], small);
        assert_eq!(wide, [0., 0., 0., 0., 0., 1., 2., 0., 0., 0., 0., 0., 0., 3., 4., 0.]);
        assert_eq!(place(small, &wide, large), [1.0, 2.0, 3.0, 4.0]);
        // Cut off at the end; a plane that begins behind the other's end.
        let (line, cut) =
            (Plane { size: [1, 3], first: [0, 0] }, Plane { size: [1, 2], first: [0, 0] });
        assert_eq!(place(cut, &[1.0, 2.0, 3.0], line), [1.0, 2.0]);
        let far = Plane { size: [1, 2], first: [0, 2] };
        assert_eq!(place(far, &[1.0, 2.0, 3.0], line), [0.0, 0.0]);
    }
}
