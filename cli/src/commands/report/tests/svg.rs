//! Parses the SVG of a page: what is drawn, where, and how large.

#![allow(clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// An element of a page.
#[derive(Debug, Default)]
pub(super) struct Element {
    name: String,
    attributes: HashMap<String, String>,
    /// Its text, and that of what is in it.
    pub(super) text: String,
    children: Vec<Element>,
}

/// The rectangle that a shape covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Element {
    /// The section of a page that has this heading.
    pub(super) fn section(page: &str, heading: &str) -> Self {
        let sections = page.split("<section").skip(1).map(|rest| rest.split_once("</section>").unwrap().0);
        let mut found = sections.filter(|section| section.contains(&format!("<h2>{heading}</h2>")));
        let section = Self::parse(&format!("<section{}</section>", found.next().expect(heading)));
        assert!(found.next().is_none(), "{heading} is there twice");
        section
    }

    fn parse(text: &str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("{error} in {text}")) {
                Event::Start(tag) => open.push(Self::of(&tag)),
                Event::End(_) => {
                    let element = open.pop().unwrap();
                    let parent = open.last_mut().unwrap();
                    parent.text.push_str(&element.text);
                    parent.children.push(element);
                }
                Event::Text(words) => open.last_mut().unwrap().text.push_str(&words),
                Event::GeneralRef(name) => {
                    open.last_mut().unwrap().text.push_str(resolve_predefined_entity(&name).unwrap());
                }
                Event::Eof => break,
                other => panic!("{other:?} in {text}"),
            }
        }
        assert_eq!(open.len(), 1, "{text}");
        open.remove(0)
    }

    fn of(tag: &BytesStart<'_>) -> Self {
        let attributes = tag.attributes().map(|attribute| {
            let attribute = attribute.unwrap();
            (
                attribute.key.into_inner().to_owned(),
                attribute.normalized_value(XmlVersion::Implicit1_0).unwrap().into_owned(),
            )
        });
        Self { name: tag.name().into_inner().to_owned(), attributes: attributes.collect(), ..Self::default() }
    }

    /// The elements in it of a name and a class, such as `rect.plain`, in their order.
    pub(super) fn all(&self, what: &str) -> Vec<&Self> {
        let (name, class) = what.split_once('.').map_or((what, None), |(name, class)| (name, Some(class)));
        let is_meant =
            |child: &Self| child.name == name && class.is_none_or(|class| child.classes().any(|its| its == class));
        let found = self.children.iter().map(|child| {
            let itself = is_meant(child).then_some(child);
            itself.into_iter().chain(child.all(what)).collect::<Vec<_>>()
        });
        found.flatten().collect()
    }

    /// The only element of this kind.
    #[track_caller]
    pub(super) fn one(&self, what: &str) -> &Self {
        let all = self.all(what);
        assert_eq!(all.len(), 1, "{what} in {self:?}");
        all[0]
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = &str> {
        self.attributes.get("class").map(String::as_str).unwrap_or_default().split_whitespace()
    }

    pub(super) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }

    /// An attribute that is a length, in whatever unit it has.
    pub(super) fn length(&self, name: &str) -> f64 {
        self.attribute(name).trim_end_matches('%').parse().unwrap()
    }

    /// The area that a rectangle covers.
    pub(super) fn area(&self) -> Area {
        let [left, top, width, height] = ["x", "y", "width", "height"].map(|name| self.length(name));
        Area { left, top, right: left + width, bottom: top + height }
    }

    /// Returns the area of each closed part of a path.
    pub(super) fn areas(&self) -> Vec<Area> {
        let drawing = self.attribute("d");
        let ended = drawing.split_terminator('z').map(corners);
        let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        ended.map(|(x, y)| Area { left: least(&x), top: least(&y), right: most(&x), bottom: most(&y) }).collect()
    }
}

/// The successive positions of the pen.
pub(super) fn corners(drawing: &str) -> (Vec<f64>, Vec<f64>) {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let (mut at_x, mut at_y) = (0.0, 0.0);
    let commands: Vec<_> = drawing.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).collect();
    for (n, (at, command)) in commands.iter().enumerate() {
        let end = commands.get(n + 1).map_or(drawing.len(), |(next, _)| *next);
        let numbers: Vec<f64> =
            drawing.get(at + 1..end).unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect();
        match (command, &numbers[..]) {
            ('M', [to_x, to_y]) => (at_x, at_y) = (*to_x, *to_y),
            ('H', [to]) => at_x = *to,
            ('V', [to]) => at_y = *to,
            ('h', [by]) => at_x += by,
            ('v', [by]) => at_y += by,
            _ => panic!("{command}{numbers:?} in {drawing}"),
        }
        x.push(at_x);
        y.push(at_y);
    }
    (x, y)
}

impl Area {
    pub(super) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// Returns whether it is between the left and the right edge of the other one.
    pub(super) fn is_over(&self, other: &Self) -> bool {
        other.left <= self.left && self.right <= other.right
    }
}
