//! HLS.
/// S
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment;
