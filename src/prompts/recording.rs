//! One recording: its samples, and their encoded forms.

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

    /// Returns the samples as G.711, one byte a sample. They are encoded at the first call and kept, since many calls send
    /// the same recording.
    pub(crate) fn encoded(&self, codec: Codec) -> &[u8] {
        let encoded = match codec {
            Codec::Pcmu => &self.0.pcmu,
            Codec::Pcma => &self.0.pcma,
        };
        encoded.get_or_init(|| self.0.samples.iter().map(|sample| encode_g711(codec, *sample)).collect())
    }
}

impl Deref for Recording {
    type Target = [i16];

    fn deref(&self) -> &[i16] {
        &self.0.samples
    }
}

/// Encodes a sample (ITU-T G.711).
pub(crate) fn encode_g711(codec: Codec, sample: i16) -> u8 {
    match codec {
        Codec::Pcmu => encode_ulaw(sample),
        Codec::Pcma => encode_alaw(sample),
    }
}
