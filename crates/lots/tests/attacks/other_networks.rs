//! Networks of others: whatever lies in memory in another order works, and what breaks the promises of `Network` is found out.

use lots::attack::{
    Argmax, Attack, Attacked, Extent, FeatureAdversary, Fgv, Lbfgs, Lots, Method, Outcome, attack,
};
use lots::{Error, NamedImage};
use lots_nn::{Cotangent, LayerId, Network, Trace};
use ndarray::{Array2, Array4, ArrayView4, Axis, s};

use super::networks::{Draw, Plain, Stage, run, smallest, unlabelled};

/// How a network deviates from [`Plain`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Column by column in memory: that is allowed.
    Columns,
    /// A row of the representations is missing.
    FewerRows,
    /// So is one of the back-projections.
    FewerDirections,
    /// Images of a batch decide differently than alone.
    BatchDecides,
    /// Not a number where the first pixel is above 200.
    NotFinite,
}

struct Other {
    network: Plain,
    way: Way,
}

struct OtherTrace<'o> {
    trace: Box<dyn Trace + 'o>,
    way: Way,
}

impl Way {
    fn rows(self, mut rows: Array2<f32>, images: &ArrayView4<'_, f32>) -> Array2<f32> {
        match self {
            Self::Columns => rows.t().as_standard_layout().into_owned().reversed_axes(),
            Self::FewerRows => rows.slice_move(s![1.., ..]),
            Self::BatchDecides => {
                if rows.nrows() > 1 {
                    rows.invert_axis(Axis(1));
                }
                rows
            }
            Self::NotFinite => {
                for (mut row, image) in rows.outer_iter_mut().zip(images.outer_iter()) {
                    if image[[0, 0, 0]] > 200.0 {
                        row[1] = f32::NAN;
                    }
                }
                rows
            }
            Self::FewerDirections => rows,
        }
    }
}

impl Network for Other {
    described_by!(network);

    fn represent(
        &self,
        images: ArrayView4<'_, f32>,
        layer: LayerId,
    ) -> Result<Array2<f32>, lots_nn::Error> {
        Ok(self.way.rows(self.network.represent(images, layer)?, &images))
    }

    fn trace<'n>(
        &'n self,
        images: ArrayView4<'_, f32>,
        layers: &[LayerId],
    ) -> Result<Box<dyn Trace + 'n>, lots_nn::Error> {
        Ok(Box::new(OtherTrace { trace: self.network.trace(images, layers)?, way: self.way }))
    }
}

impl Trace for OtherTrace<'_> {
    fn representation(&self, layer: LayerId) -> Result<Array2<f32>, lots_nn::Error> {
        let rows = self.trace.representation(layer)?;
        Ok(if [Way::Columns, Way::BatchDecides].contains(&self.way) {
            self.way.rows(rows, &Array4::zeros((0, 0, 0, 0)).view())
        } else {
            rows
        })
    }

    fn back_project(&self, rows: &[Cotangent<'_>]) -> Result<Array4<f32>, lots_nn::Error> {
        let found = self.trace.back_project(rows)?;
        Ok(match self.way {
            Way::Columns => {
                let mut columns = Array4::zeros(ndarray::ShapeBuilder::f(found.raw_dim()));
                columns.assign(&found);
                columns
            }
            Way::FewerDirections => found.slice_move(s![1.., .., .., ..]),
            _ => found,
        })
    }
}

const SHAPE: [usize; 3] = [3, 4, 5];

fn plain() -> Plain {
    let mut draw = Draw::new(11);
    let first = Stage::linear(draw.matrix(7, 60, 3));
    let last = Stage::linear(draw.matrix(3, 7, 3));
    Plain::new(SHAPE, vec![first, last])
}

fn images() -> Vec<NamedImage> {
    let mut draw = Draw::new(12);
    (0..6).map(|i| unlabelled(&format!("image {i}"), draw.image(SHAPE))).collect()
}

fn results(way: Way, attacks: &[Attack<'_>]) -> Vec<Result<Attacked, Error>> {
    let network = Other { network: plain(), way };
    let decision = Argmax::of(&network).unwrap();
    attack(&network, &decision, &images(), attacks).collect()
}

/// Rays, and minimisations.
fn methods(network: &Plain) -> [Vec<Box<dyn Method>>; 2] {
    let layers = [network.layer(1), network.layer(2)];
    let mut rays: Vec<Box<dyn Method>> = layers.map(|layer| Box::new(Lots(layer)) as _).into();
    rays.push(Box::new(Fgv));
    let mut minima: Vec<Box<dyn Method>> =
        layers.map(|layer| Box::new(FeatureAdversary::new(layer, 100)) as _).into();
    minima.push(Box::new(Lbfgs::new(20, 5)));
    [rays, minima]
}

fn attacks(methods: &[Box<dyn Method>]) -> Vec<Attack<'_>> {
    let pairs = (0..6).flat_map(|origin| (0..6).map(move |target| (origin, target)));
    let pairs = pairs.filter(|(origin, target)| origin != target);
    let led = |origin, target| methods[..2].iter().map(move |m| smallest(origin, target, &**m));
    let attacks = pairs.flat_map(|(origin, target)| led(origin, Some(target)));
    attacks.chain((0..6).map(|origin| smallest(origin, None, &*methods[2]))).collect()
}

#[test]
fn the_order_in_memory_does_not_matter() {
    let network = plain();
    for methods in methods(&network) {
        let wanted = run(&network, &images(), &attacks(&methods));
        let found: Vec<Attacked> =
            results(Way::Columns, &attacks(&methods)).into_iter().map(Result::unwrap).collect();
        assert_eq!(wanted, found);
        assert!(wanted.iter().any(|a| matches!(a.outcome, Outcome::Adversarial(_))));
    }
}

#[test]
fn broken_promises_are_errors() {
    let network = plain();
    let cases = [
        (Way::FewerRows, "representations of"),
        (Way::FewerDirections, "directions for"),
        (Way::BatchDecides, "the network gives another class to an image alone than in a batch"),
    ];
    for methods in methods(&network) {
        for (way, wanted) in cases {
            let results = results(way, &attacks(&methods));
            let error = results.iter().find_map(|result| result.as_ref().err()).unwrap();
            let error = error.to_string();
            assert!(
                error.contains(wanted) && error.ends_with("its results cannot be trusted"),
                "{way:?}, {methods:?}: {error}"
            );
            assert!(!error.contains('\n'));
            assert!(results.last().unwrap().is_err(), "{way:?}: results after an error");
        }
    }
}

/// Images without a class are no success, at the smallest step or a fixed one.
#[test]
fn what_is_not_finite_is_no_success() {
    let base = images();
    let first = |i: usize| base[i].image.pixels()[0];
    let usable: Vec<usize> = (0..6).filter(|&i| first(i) <= 200).collect();
    assert!(usable.len() >= 3);
    let fixed = |i| Attack { extent: Extent::Linf(255), ..smallest(i, None, &Fgv) };
    let lbfgs = Lbfgs::new(20, 5);
    let attacks: Vec<Attack<'_>> = usable
        .iter()
        .flat_map(|&i| [smallest(i, None, &Fgv), fixed(i), smallest(i, None, &lbfgs)])
        .collect();
    let mut without = 0;
    for (result, attack) in results(Way::NotFinite, &attacks).into_iter().zip(&attacks) {
        match result.unwrap().outcome {
            Outcome::Adversarial(found) | Outcome::NotFound(Some(found)) => {
                assert!(found.image.pixels()[0] <= 200, "{attack:?}")
            }
            Outcome::NotFound(None) => without += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(without > 0);
}
