//! dlib's face recogniser as ONNX, and four portraits in the public domain, as bytes. README.md tells where they come from.

/// The network: aligned RGB chips [N, 3, 150, 150], 0–255, to descriptors [N, 128]; two faces are the same person below a
/// Euclidean distance of 0.6.
pub const DESCRIPTOR: &[u8] = include_bytes!("../data/face_descriptor.onnx");

/// A portrait of 150×150 pixels.
#[derive(Clone, Copy, Debug)]
pub struct Portrait {
    /// Whom it shows.
    pub person: &'static str,
    /// What its file is called.
    pub file: &'static str,
    /// The PNG.
    pub png: &'static [u8],
}

/// Two people: one portrait of the first, three of the second.
pub const PORTRAITS: [Portrait; 4] = [
    Portrait {
        person: "biden",
        file: "biden.png",
        png: include_bytes!("../data/people/biden/biden.png"),
    },
    Portrait {
        person: "obama",
        file: "obama.png",
        png: include_bytes!("../data/people/obama/obama.png"),
    },
    Portrait {
        person: "obama",
        file: "obama2.png",
        png: include_bytes!("../data/people/obama/obama2.png"),
    },
    Portrait {
        person: "obama",
        file: "obama3.png",
        png: include_bytes!("../data/people/obama/obama3.png"),
    },
];
