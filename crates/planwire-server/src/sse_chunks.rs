//! Frames joined into chunks: what is pending for a client is one write, up to a limit.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::config::SSE_CHUNK_BYTES_MAX;

/// Chunks of whole frames, in order. Each has at most [`SSE_CHUNK_BYTES_MAX`] bytes, or what [`Chunks::grow_to`] said; a
/// larger frame is a chunk of its own.
#[derive(Debug)]
pub(crate) struct Chunks {
    chunk_bytes_max: usize,
    ready: VecDeque<Bytes>,
    /// The first frame of the chunk that is being filled, as long as it stands alone: it is then shared, not copied.
    alone: Option<Bytes>,
    joined: Vec<u8>,
    /// Bytes that were ever added.
    bytes: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            chunk_bytes_max: SSE_CHUNK_BYTES_MAX,
            ready: VecDeque::new(),
            alone: None,
            joined: Vec::new(),
            bytes: 0,
        }
    }
}

impl Chunks {
    /// Lets the chunks that begin from now on have so many bytes.
    pub(crate) const fn grow_to(&mut self, chunk_bytes_max: usize) {
        self.chunk_bytes_max = chunk_bytes_max;
    }

    /// Adds a frame that `write` appends to what it is given.
    pub(crate) fn push_written(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.join(&[]);
        let start = self.joined.len();
        write(&mut self.joined);
        self.bytes += self.joined.len() - start;
        if start > 0 && self.joined.len() > self.chunk_bytes_max {
            // It did not fit any more, so it begins the next chunk.
            let frame = self.joined.split_off(start);
            self.finish();
            self.join(&[&frame]);
        }
    }

    /// Adds a frame.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.make_room(frame.len());
        if self.joined.is_empty() && self.alone.is_none() {
            self.alone = Some(frame);
        } else {
            self.join(&[&frame]);
        }
    }

    /// Adds a frame that is made of pieces.
    pub(crate) fn push_pieces(&mut self, pieces: &[&[u8]]) {
        self.make_room(pieces.iter().map(|piece| piece.len()).sum());
        self.join(pieces);
    }

    fn make_room(&mut self, frame_bytes: usize) {
        self.bytes += frame_bytes;
        let filled = self.alone.as_ref().map_or(self.joined.len(), Bytes::len);
        if filled + frame_bytes > self.chunk_bytes_max {
            self.finish();
        }
    }

    fn join(&mut self, pieces: &[&[u8]]) {
        if self.joined.capacity() == 0 {
            self.joined.reserve(self.chunk_bytes_max);
        }
        if let Some(first) = self.alone.take() {
            self.joined.extend_from_slice(&first);
        }
        pieces.iter().for_each(|piece| self.joined.extend_from_slice(piece));
    }

    /// Ends the chunk that is being filled: frames that come later begin another.
    pub(crate) fn finish(&mut self) {
        if let Some(frame) = self.alone.take() {
            self.ready.push_back(frame);
        }
        if !self.joined.is_empty() {
            let mut joined = std::mem::take(&mut self.joined);
            joined.shrink_to_fit();
            self.ready.push_back(joined.into());
        }
    }

    /// Takes the next chunk that is finished.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Forgets what is left.
    pub(crate) fn clear(&mut self) {
        (self.alone, self.joined) = (None, Vec::new());
        self.ready.clear();
    }

    /// Bytes that were ever added.
    pub(crate) const fn bytes_added(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(frames: &[usize]) -> Chunks {
        let mut chunks = Chunks::default();
        frames.iter().for_each(|len| chunks.push(Bytes::from(vec![b'x'; *len])));
        chunks.finish();
        chunks
    }

    fn lengths(mut chunks: Chunks) -> Vec<usize> {
        std::iter::from_fn(|| chunks.pop()).map(|chunk| chunk.len()).collect()
    }

    #[test]
    fn pending_frames_become_one_chunk() {
        assert!(lengths(chunks(&[])).is_empty());
        assert_eq!(lengths(chunks(&[400])), [400]);
        assert_eq!(lengths(chunks(&[400, 500, 600])), [1500]);
    }

    #[test]
    fn chunks_are_bounded_and_keep_the_order() {
        const MAX: usize = SSE_CHUNK_BYTES_MAX;
        assert_eq!(lengths(chunks(&[MAX - 1, 1, 1])), [MAX, 1]);
        assert_eq!(lengths(chunks(&[10, MAX + 1, 20])), [10, MAX + 1, 20]);
        assert_eq!(lengths(chunks(&[MAX / 2, MAX / 2 + 1, 5])), [MAX / 2, MAX / 2 + 6]);
    }

    #[test]
    fn written_frames_are_cut_into_chunks_as_others_are() {
        const MAX: usize = SSE_CHUNK_BYTES_MAX;
        let check = |frames: &[usize], larger: Option<usize>, expected: &[usize]| {
            let (mut written, mut pushed) = (Chunks::default(), Chunks::default());
            for (at, len) in frames.iter().enumerate() {
                let frame = vec![u8::try_from(at).unwrap(); *len];
                for chunks in [&mut written, &mut pushed] {
                    larger.into_iter().for_each(|bytes| chunks.grow_to(bytes));
                }
                written.push_written(|out| out.extend_from_slice(&frame));
                pushed.push(frame.into());
            }
            for chunks in [&mut written, &mut pushed] {
                chunks.finish();
                assert_eq!(chunks.bytes_added(), frames.iter().sum::<usize>());
            }
            let both = std::iter::from_fn(|| Some((written.pop()?, pushed.pop()?))).collect::<Vec<_>>();
            assert!(both.iter().all(|(written, pushed)| written == pushed), "{frames:?}");
            assert_eq!(both.iter().map(|(written, _)| written.len()).collect::<Vec<_>>(), expected);
        };
        check(&[], None, &[]);
        check(&[400, 500, 600], None, &[1500]);
        check(&[MAX - 1, 1, 1], None, &[MAX, 1]);
        check(&[10, MAX + 1, 20], None, &[10, MAX + 1, 20]);
        check(&[MAX - 1, 1, 1], Some(4 * MAX), &[MAX + 1]);
        check(&[2 * MAX, 2 * MAX, 7], Some(4 * MAX), &[4 * MAX, 7]);
    }

    #[test]
    fn a_frame_that_stands_alone_is_shared() {
        let frame = Bytes::from(vec![b'x'; 100]);
        let mut chunks = Chunks::default();
        chunks.push(frame.clone());
        chunks.finish();
        assert_eq!(chunks.pop().unwrap().as_ptr(), frame.as_ptr());
    }

    #[test]
    fn frames_of_pieces_are_joined_as_whole_frames_are() {
        let mut chunks = Chunks::default();
        chunks.push(Bytes::from_static(b"a\n\n"));
        chunks.push_pieces(&[b"b", b"c", b"\n\n"]);
        chunks.finish();
        chunks.push_pieces(&[b"d\n\n"]);
        assert_eq!(chunks.bytes_added(), 10);
        assert_eq!(chunks.pop().unwrap(), "a\n\nbc\n\n");
        assert_eq!(chunks.pop(), None);
        chunks.finish();
        assert_eq!(chunks.pop().unwrap(), "d\n\n");
        chunks.push(Bytes::from_static(b"e"));
        chunks.clear();
        chunks.finish();
        assert_eq!(chunks.pop(), None);
    }
}
