//! MatMul of two activations, or of an activation with a constant that is no matrix on its right.

use super::broadcast::element_map;
use super::{Keeper, Keeps, Kept, Operator, Run};
use crate::kernels::{Isa, LANES, Packed, add, interleave_lanes, matmul, transpose_lanes};
use crate::parallel::{for_each_chunk, worth};
use crate::scratch::Buffer;
use crate::tensor::Tensor;

/// Products `C = A · B` of matrices [rows, depth] and [depth, columns], those of one side perhaps taken several times.
#[derive(Debug)]
pub(crate) struct Product {
    constants: [Option<Tensor>; 2],
    rows: usize,
    depth: usize,
    columns: usize,
    /// Products of one image.
    products: usize,
    sides: [Takers; 2],
}

/// Which products take which matrix of a side.
#[derive(Debug)]
struct Takers {
    /// Matrices of the side.
    matrices: usize,
    /// The matrix of each product, unless each takes its own.
    map: Option<Vec<u32>>,
    /// The products by matrix: as many of each, since each axis is taken whole or broadcast.
    order: Vec<u32>,
}

impl Takers {
    fn new(batch: &[usize], products: &[usize]) -> Self {
        let map = element_map(batch, products);
        let mut order = Vec::new();
        if let Some(map) = &map {
            order.extend(0..map.len() as u32);
            order.sort_by_key(|&p| map[p as usize]);
        }
        Self { matrices: batch.iter().product(), map, order }
    }

    fn matrix(&self, product: usize) -> usize {
        self.map.as_ref().map_or(product, |map| map[product] as usize)
    }

    /// Calls `f` for each product that takes `matrix`, in order.
    fn each(&self, matrix: usize, mut f: impl FnMut(usize)) {
        if self.map.is_none() {
            return f(matrix);
        }
        let times = self.order.len() / self.matrices;
        self.order[matrix * times..][..times].iter().for_each(|&p| f(p as usize));
    }
}

/// The matrices of one side for all images: those of an image lie together.
#[derive(Clone, Copy)]
struct Matrices<'a> {
    data: &'a [f32],
    /// Floats of one matrix.
    size: usize,
    /// Floats from one image to the next; zero for constants.
    image: usize,
}

impl<'a> Matrices<'a> {
    fn get(&self, image: usize, matrix: usize) -> &'a [f32] {
        &self.data[image * self.image + matrix * self.size..][..self.size]
    }
}

impl Product {
    /// `sizes` are rows, depth and columns; `batches` the axes before them on both sides, and those of the products that
    /// they broadcast to. A constant side holds its values.
    pub(crate) fn new(
        constants: [Option<Tensor>; 2],
        sizes: [usize; 3],
        batches: [&[usize]; 2],
        products: &[usize],
    ) -> Self {
        let [mut rows, depth, columns] = sizes;
        let count = batches.map(|b| b.iter().product::<usize>());
        let all = products.iter().product();
        if count == [all, 1] {
            // One matrix on the right: the left ones are one tall matrix.
            rows *= all;
            let sides = [Takers::new(&[], &[]), Takers::new(&[], &[])];
            return Self { constants, rows, depth, columns, products: 1, sides };
        }
        let sides = batches.map(|batch| Takers::new(batch, products));
        Self { constants, rows, depth, columns, products: all, sides }
    }

    fn matrix_size(&self, side: usize) -> usize {
        self.depth * if side == 0 { self.rows } else { self.columns }
    }

    /// Floats of one image on `side`.
    fn size(&self, side: usize) -> usize {
        self.sides[side].matrices * self.matrix_size(side)
    }

    /// `side` of each image, where `rows` are the activation's.
    fn matrices<'a>(&'a self, side: usize, rows: &'a [f32]) -> Matrices<'a> {
        let size = self.matrix_size(side);
        match &self.constants[side] {
            Some(constant) => Matrices { data: constant.data(), size, image: 0 },
            None => Matrices { data: rows, size, image: self.size(side) },
        }
    }

    /// Calls `f(image, matrix, whether to split inside, out)` for each matrix of `size` floats of all images.
    fn each(
        &self,
        run: Run,
        out: &mut [f32],
        (matrices, size): (usize, usize),
        f: impl Fn(usize, usize, bool, &mut [f32]) + Send + Sync,
    ) {
        let all = out.len() / size;
        let work = all * size.max(self.matrix_size(0)).max(self.matrix_size(1));
        let split = run.parallel && all > 1 && worth(work);
        for_each_chunk(split, out, size, |i, out| {
            f(i / matrices, i % matrices, run.parallel && !split, out);
        });
    }

    fn multiply(&self, run: Run, a: Matrices<'_>, b: Matrices<'_>, out: &mut [f32]) {
        let size = self.rows * self.columns;
        self.each(run, out, (self.products, size), |image, p, split, out| {
            let mut packed = Packed { rows: self.columns, depth: self.depth, ..Packed::default() };
            packed.fill_columns(split, b.get(image, self.sides[1].matrix(p)));
            matmul(run.isa, split, &packed, None, 1, a.get(image, self.sides[0].matrix(p)), out);
        });
    }

    /// `Σ G · Bᵀ` over the products that take each matrix on the left.
    fn back_left(&self, run: Run, g: Matrices<'_>, b: Matrices<'_>, out: &mut [f32]) {
        let shape = (self.sides[0].matrices, self.matrix_size(0));
        self.each(run, out, shape, |image, matrix, split, out| {
            let mut packed = Packed { rows: self.depth, depth: self.columns, ..Packed::default() };
            self.sum_products(run.isa, 0, matrix, out, |p, out| {
                packed.fill_rows(split, b.get(image, self.sides[1].matrix(p)));
                matmul(run.isa, split, &packed, None, 1, g.get(image, p), out);
            });
        });
    }

    /// `Σ Aᵀ · G` over the products that take each matrix on the right.
    fn back_right(&self, run: Run, a: Matrices<'_>, g: Matrices<'_>, out: &mut [f32]) {
        let shape = (self.sides[1].matrices, self.matrix_size(1));
        self.each(run, out, shape, |image, matrix, split, out| {
            let mut packed = Packed { rows: self.columns, depth: self.rows, ..Packed::default() };
            let mut turned = Buffer::dirty(self.matrix_size(0));
            self.sum_products(run.isa, 1, matrix, out, |p, out| {
                packed.fill_columns(split, g.get(image, p));
                let a = a.get(image, self.sides[0].matrix(p));
                for (i, row) in a.chunks_exact(self.depth).enumerate() {
                    for (to, x) in turned.chunks_exact_mut(self.rows).zip(row) {
                        to[i] = *x;
                    }
                }
                matmul(run.isa, split, &packed, None, 1, &turned, out);
            });
        });
    }

    /// The sum over the products that take `matrix` of `side`, of what `f(product, out)` writes.
    fn sum_products(
        &self,
        isa: Isa,
        side: usize,
        matrix: usize,
        out: &mut [f32],
        mut f: impl FnMut(usize, &mut [f32]),
    ) {
        let mut more: Option<Buffer> = None;
        self.sides[side].each(matrix, |p| match &mut more {
            None => {
                f(p, out);
                more = Some(Buffer::dirty(out.len()));
            }
            Some(more) => {
                f(p, more);
                add(isa, more, out);
            }
        });
    }
}

/// Lanes as rows: `[image][element]`. Single images are that already.
struct Rows<'a> {
    lanes: &'a [f32],
    turned: Option<Buffer>,
}

impl<'a> Rows<'a> {
    fn new(run: Run, lanes: &'a [f32]) -> Self {
        let turned = (run.lanes == LANES).then(|| {
            let mut rows = Buffer::dirty(lanes.len());
            transpose_lanes(run.isa, lanes, lanes.len() / LANES, &mut rows);
            rows
        });
        Self { lanes, turned }
    }

    fn get(&self) -> &[f32] {
        self.turned.as_deref().unwrap_or(self.lanes)
    }
}

/// Calls `f` with `out` as rows of images.
fn with_rows(run: Run, out: &mut [f32], f: impl FnOnce(&mut [f32])) {
    if run.lanes == 1 {
        return f(out);
    }
    let mut rows = Buffer::dirty(out.len());
    f(&mut rows);
    let images: Vec<&[f32]> = rows.chunks_exact((out.len() / LANES).max(1)).collect();
    interleave_lanes(run.isa, &images, out);
}

impl Operator for Product {
    fn name(&self) -> &'static str {
        "MatMul"
    }

    fn keeps(&self) -> Keeps {
        let both = self.constants.iter().all(Option::is_none);
        Keeps { bytes: 0, floats: if both { self.size(0) + self.size(1) } else { 0 } }
    }

    fn forward(&self, run: Run, inputs: &[&[f32]], output: &mut [f32], keeper: Option<Keeper<'_>>) {
        let activation = |side: usize, input: usize| {
            Rows::new(run, if self.constants[side].is_some() { &[] } else { inputs[input] })
        };
        let (left, right) = (activation(0, 0), activation(1, inputs.len() - 1));
        let (a, b) = (self.matrices(0, left.get()), self.matrices(1, right.get()));
        with_rows(run, output, |out| self.multiply(run, a, b, out));
        if let (Some(keeper), [a, b]) = (keeper, inputs) {
            let (kept_a, kept_b) = keeper.floats.split_at_mut(a.len());
            kept_a.copy_from_slice(a);
            kept_b.copy_from_slice(b);
        }
    }

    fn vjp(&self, run: Run, input: usize, kept: Kept<'_>, cotangent: &[f32], gradient: &mut [f32]) {
        // Input 0 is the only activation, or the first of two.
        let side = if self.constants[0].is_some() { 1 } else { input };
        let size = self.rows * self.columns;
        let g = Rows::new(run, cotangent);
        let g = Matrices { data: g.get(), size, image: self.products * size };
        let first =
            if self.constants.iter().all(Option::is_none) { self.size(0) * run.lanes } else { 0 };
        let (left, right) = kept.floats.split_at(first);
        let other = Rows::new(run, if side == 0 { right } else { left });
        let other = self.matrices(1 - side, other.get());
        with_rows(run, gradient, |out| {
            if side == 0 {
                self.back_left(run, g, other, out);
            } else {
                self.back_right(run, other, g, out);
            }
        });
    }
}
