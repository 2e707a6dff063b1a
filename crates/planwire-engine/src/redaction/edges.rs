//! What of a text may be missing: then a part of a value at its edge is as good as a value.

/// Bytes at the end of a text that was cut which are taken for the beginning of a secret; half of a short form will do.
pub const PARTIAL_BYTES_MIN: usize = 4;
/// Bytes of a piece that are taken for a part of a secret: a line of a file begins and ends as it likes.
pub const PIECE_BYTES_MIN: usize = 8;

const _: () = assert!(PARTIAL_BYTES_MIN < PIECE_BYTES_MIN);

/// What of a text may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Edges {
    /// Nothing.
    #[default]
    Whole,
    /// More came behind it.
    CutEnd,
    /// More came before it or behind it: a line of a file.
    Piece,
}

impl Edges {
    /// Of a text of which more came behind it, if it `is_cut`.
    pub(crate) const fn cut_end_if(is_cut: bool) -> Self {
        if is_cut { Self::CutEnd } else { Self::Whole }
    }
}
