//! One recording: its samples, and its codes as they are sent.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use audio_codec_algorithms::{encode_alaw, encode_ulaw};
use phonegate_media::sdp::Codec;

/// Linear PCM, mono, at [`SAMPLE_RATE`](super::SAMPLE_RATE). Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Recording(Arc<Audio>);

#[derive(Debug, Default)]
struct Audio {
    samples: Box<[i16]>,
    pcmu: OnceLock<Box<[u8]>>,
    pcma: OnceLock<Box<[u8]>>,
}

impl Recording {
    pub(super) fn new(samples: Vec<i16>) -> Self {
        Self(Arc::new(Audio { samples: samples.into(), ..Audio::default() }))
    }

    /// Returns the code of each sample. They are computed at the first call and kept, a byte a sample and codec, so that
    /// sending them to many calls only copies them.
    pub(crate) fn codes(&self, codec: Codec) -> &[u8] {
        let codes = match codec {
            Codec::Pcmu => &self.0.pcmu,
            Codec::Pcma => &self.0.pcma,
        };
        codes.get_or_init(|| self.0.samples.iter().map(|sample| g711_code(codec, *sample)).collect())
    }
}

impl Deref for Recording {
    type Target = [i16];

    fn deref(&self) -> &[i16] {
        &self.0.samples
    }
}

/// Returns the code of a sample (ITU-T G.711).
pub(crate) fn g711_code(codec: Codec, sample: i16) -> u8 {
    match codec {
        Codec::Pcmu => encode_ulaw(sample),
        Codec::Pcma => encode_alaw(sample),
    }
}
