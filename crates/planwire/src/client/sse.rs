//! Server-sent events: bytes in, frames out.

/// Bytes of one frame; an event is at most 256 KiB, its JSON escapes included.
const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What one blank line ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// `event:`, empty if there is none.
    pub(crate) event: String,
    /// `data:`, its lines joined.
    pub(crate) data: String,
    /// The last `id:` so far: where to resume.
    pub(crate) id: Option<String>,
}

/// Takes bytes as they come and gives frames.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    buffer: Vec<u8>,
    frame: Frame,
    has_data: bool,
}

/// A frame is longer than any that a planwire server sends.
#[derive(Debug, thiserror::Error)]
#[error("a frame of the stream exceeds {FRAME_BYTES_MAX} bytes")]
pub(crate) struct FrameTooLarge;

impl Parser {
    /// Adds bytes and gives all frames that they complete, also those without data, whose `id` moves the cursor.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, FrameTooLarge> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let mut start = 0;
        while let Some(length) = self.buffer[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.buffer[start..start + length]).into_owned();
            start += length + 1;
            frames.extend(self.line(line.trim_end_matches('\r')));
        }
        self.buffer.drain(..start);
        let size_bytes = self.buffer.len() + self.frame.data.len();
        if size_bytes > FRAME_BYTES_MAX { Err(FrameTooLarge) } else { Ok(frames) }
    }

    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let next = Frame { id: self.frame.id.clone(), ..Frame::default() };
            self.has_data = false;
            return Some(std::mem::replace(&mut self.frame, next));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.frame.event),
            "id" => self.frame.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
                self.has_data = true;
            }
            // Comments and fields of a later version.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": planwire\nid: A-1\n\nevent: ToolCalled\nid: A-2\ndata: {\"a\":\"é\"}\n\n: hb\nid: A-3\n\n\
                          event: end\r\ndata: x\r\ndata: y\r\n\r\n";

    fn frame(event: &str, id: &str, data: &str) -> Frame {
        Frame { event: event.into(), data: data.into(), id: Some(id.into()) }
    }

    #[test]
    fn frames_are_the_same_wherever_the_bytes_are_cut() {
        let expected = vec![
            frame("", "A-1", ""),
            frame("ToolCalled", "A-2", "{\"a\":\"é\"}"),
            frame("", "A-3", ""),
            frame("end", "A-3", "x\ny"),
        ];
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let frames: Vec<Frame> =
                STREAM.as_bytes().chunks(size).flat_map(|chunk| parser.feed(chunk).unwrap()).collect();
            assert_eq!(frames, expected, "cut every {size} bytes");
        }
    }

    #[test]
    fn endless_line_is_an_error() {
        let mut parser = Parser::default();
        let result = (0..40).try_for_each(|_| parser.feed(&[b'x'; 64 * 1024]).map(drop));
        assert!(result.is_err());
    }
}
