//! Pixels of pictures of the report's page, and the colours of its style sheet.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::browser::Scheme;
use crate::support::tool;

pub type Colour = [u8; 3];

pub struct Picture {
    width: usize,
    pixels: Vec<Colour>,
}

impl Picture {
    pub fn read(png: &Path) -> Self {
        let decoder = png::Decoder::new(BufReader::new(File::open(png).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let pixels = pixels[..info.buffer_size()].chunks(info.color_type.samples());
        Self { width: info.width as usize, pixels: pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect() }
    }

    /// Returns the number of different colours.
    pub fn colours(&self) -> usize {
        self.pixels.iter().collect::<HashSet<_>>().len()
    }

    /// Returns the average brightness, from 0 to 255.
    pub fn brightness(&self) -> u64 {
        let all: u64 = self.pixels.as_flattened().iter().map(|part| u64::from(*part)).sum();
        all / (3 * self.pixels.len() as u64)
    }

    /// Returns the number of pixels with exactly this colour.
    pub fn area(&self, colour: Colour) -> usize {
        self.pixels.iter().filter(|pixel| **pixel == colour).count()
    }

    /// Returns the colours of the four corners.
    pub fn corners(&self) -> [Colour; 4] {
        let last = self.pixels.len() - 1;
        [0, self.width - 1, last + 1 - self.width, last].map(|at| self.pixels[at])
    }
}

/// Returns the colours of the style sheet for this colour scheme.
pub fn palette(scheme: Scheme) -> HashMap<&'static str, Colour> {
    let style = include_str!("../../src/commands/report/page.css");
    let (light, dark) = style.split_once("(prefers-color-scheme: dark)").unwrap();
    let mut palette = HashMap::new();
    let mut name_all = |block: &'static str| {
        let block = block.split_once(":root {").unwrap().1.split('}').next().unwrap();
        let declarations = block.split(';').filter_map(|declaration| declaration.trim().strip_prefix("--"));
        for (name, value) in declarations.filter_map(|declaration| declaration.split_once(": #")) {
            let part = |n: usize| u8::from_str_radix(&value[n..n + 2], 16).unwrap();
            palette.insert(name, [part(0), part(2), part(4)]);
        }
    };
    name_all(light);
    if let Scheme::Dark = scheme {
        name_all(dark);
    }
    palette
}

/// Makes a picture of each page of a PDF, in the folder of the PDF.
pub fn of_paper(pdf: &Path) -> Vec<Picture> {
    let folder = pdf.with_extension("pages");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let output = tool("pdftoppm", "poppler-utils")
        .args(["-png", "-r", "144"])
        .arg(pdf)
        .arg(folder.join("page"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut pages: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages.iter().map(|page| Picture::read(page)).collect()
}
