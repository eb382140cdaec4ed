//! Reads the metadata of .NET assemblies (ECMA-335, II.24). The file may be damaged or malicious: every value is checked,
//! and the time to read it is bounded by its size.
//!
//! The existing crates for such metadata panic on damaged files, have a hundred dependencies, or are under the GPL. This
//! is the small part that is needed, on top of `object`, which reads the executable file around it.

use object::pe::{IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR, ImageNtHeaders32, ImageNtHeaders64};
use object::read::FileKind;
use object::read::pe::{ImageNtHeaders, PeFile};

mod tables;

pub(crate) use tables::TYPE_DEF;
use tables::{ASSEMBLY, ASSEMBLY_REF, COLUMNS, CONSTANT, FIELD, METHOD_DEF, TABLE_IDS, TYPE_REF, TableId, Widths};

/// Maximum length of a name in bytes, as in the runtime.
const MAX_NAME: usize = 1023;

/// Why a file has no usable metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not an assembly: a native library or another file.
    NotManaged,
    /// It is damaged, in the named part.
    Damaged(&'static str),
}

use Unreadable::{Damaged, NotManaged};

/// The metadata of an assembly.
pub(crate) struct Metadata<'a> {
    /// The runtime that it was compiled for, such as `v2.0.50727`.
    pub(crate) runtime: &'a str,
    tables: &'a [u8],
    texts: &'a [u8],
    blobs: &'a [u8],
    widths: Widths,
    /// The offset of each table in `tables`.
    starts: [usize; COLUMNS.len()],
}

/// The identity of an assembly.
pub(crate) struct Identity<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: [u16; 4],
    pub(crate) public_key: &'a [u8],
}

/// A type that an assembly defines.
#[derive(Clone, Copy)]
pub(crate) struct TypeDef {
    row: u32,
    flags: u32,
}

impl TypeDef {
    pub(crate) fn is_interface(self) -> bool {
        self.flags & 0x20 != 0
    }

    pub(crate) fn is_public(self) -> bool {
        self.flags & 0x7 == 1
    }
}

impl<'a> Metadata<'a> {
    pub(crate) fn read(file: &'a [u8]) -> Result<Self, Unreadable> {
        let parsed = match FileKind::parse(file) {
            Ok(FileKind::Pe32) => Self::in_file::<ImageNtHeaders32>(file)?,
            Ok(FileKind::Pe64) => Self::in_file::<ImageNtHeaders64>(file)?,
            _ if file.starts_with(b"MZ") => return Err(Damaged("the program's headers")),
            _ => return Err(NotManaged),
        };
        let root = Root::read(parsed)?;
        let widths = Widths { rows: root.rows, large_heaps: root.large_heaps };
        let mut starts = [0; COLUMNS.len()];
        let mut end = root.first_row;
        for ((start, columns), table) in starts.iter_mut().zip(COLUMNS).zip(0..) {
            *start = end;
            let row: usize = columns.iter().map(|column| widths.of(*column)).sum();
            let size = row.checked_mul(widths.rows(table) as usize).ok_or(Damaged("too many rows"))?;
            end = end.checked_add(size).filter(|end| *end <= root.tables.len()).ok_or(Damaged("a table is cut off"))?;
        }
        let Root { runtime, tables, texts, blobs, .. } = root;
        Ok(Self { runtime, tables, texts, blobs, widths, starts })
    }

    fn in_file<Nt: ImageNtHeaders>(file: &'a [u8]) -> Result<&'a [u8], Unreadable> {
        let pe = PeFile::<Nt>::parse(file).map_err(|_| Damaged("the program's headers"))?;
        let header = pe.data_directory(IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR).ok_or(NotManaged)?;
        if header.virtual_address.get(object::LittleEndian) == 0 {
            return Err(NotManaged);
        }
        let sections = pe.section_table();
        if sections.iter().any(|section| {
            let (start, size) = section.pe_file_range();
            u64::from(start) + u64::from(size) > file.len() as u64
        }) {
            return Err(Damaged("a section is cut off"));
        }
        let header = header.data(file, &sections).map_err(|_| Damaged("the .NET header"))?;
        let (Some(address), Some(size)) = (number(header, 8, 4), number(header, 12, 4)) else {
            return Err(Damaged("the .NET header"));
        };
        let metadata = sections.pe_data_at(file, address).and_then(|data| data.get(..size as usize));
        metadata.ok_or(Damaged("the metadata is cut off"))
    }

    /// Returns the assembly's identity. `None` for a module of another assembly.
    pub(crate) fn identity(&self) -> Result<Option<Identity<'a>>, Unreadable> {
        if self.widths.rows(ASSEMBLY) == 0 {
            return Ok(None);
        }
        let version = self.version(ASSEMBLY, 1, 1)?;
        Ok(Some(Identity { name: self.text(ASSEMBLY, 1, 7)?, version, public_key: self.blob(ASSEMBLY, 1, 6)? }))
    }

    /// Returns the name and version of the assembly in which it expects a type.
    pub(crate) fn type_ref_assembly(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<(&'a str, [u16; 4])>, Unreadable> {
        for row in 1..=self.widths.rows(TYPE_REF) {
            if self.has_text(TYPE_REF, row, 1, name)? && self.has_text(TYPE_REF, row, 2, namespace)? {
                // The two lowest bits name the table of the scope: 2 is AssemblyRef.
                let scope = self.cell(TYPE_REF, row, 0)?;
                if scope & 3 == 2 {
                    let home = scope >> 2;
                    return Ok(Some((self.text(ASSEMBLY_REF, home, 6)?, self.version(ASSEMBLY_REF, home, 0)?)));
                }
            }
        }
        Ok(None)
    }

    fn version(&self, table: TableId, row: u32, first: usize) -> Result<[u16; 4], Unreadable> {
        let mut version = [0; 4];
        for (part, column) in version.iter_mut().zip(first..) {
            *part = self.cell(table, row, column)? as u16;
        }
        Ok(version)
    }

    /// Returns the first type of this name that it defines.
    pub(crate) fn type_def(&self, namespace: &str, name: &str) -> Result<Option<TypeDef>, Unreadable> {
        for row in 1..=self.widths.rows(TYPE_DEF) {
            if self.has_text(TYPE_DEF, row, 1, name)? && self.has_text(TYPE_DEF, row, 2, namespace)? {
                return Ok(Some(TypeDef { row, flags: self.cell(TYPE_DEF, row, 0)? }));
            }
        }
        Ok(None)
    }

    pub(crate) fn has_method(&self, of: TypeDef, name: &str) -> Result<bool, Unreadable> {
        Ok(self.member(of, METHOD_DEF, 5, 3, name)?.is_some())
    }

    pub(crate) fn has_field(&self, of: TypeDef, name: &str) -> Result<bool, Unreadable> {
        Ok(self.member(of, FIELD, 4, 1, name)?.is_some())
    }

    /// Returns the value of a constant of four bytes.
    pub(crate) fn constant(&self, of: TypeDef, name: &str) -> Result<Option<u32>, Unreadable> {
        let Some(field) = self.member(of, FIELD, 4, 1, name)? else { return Ok(None) };
        for row in 1..=self.widths.rows(CONSTANT) {
            // The two lowest bits name the table of the owner: 0 is Field.
            if self.cell(CONSTANT, row, 1)? == field << 2 {
                return Ok(number(self.blob(CONSTANT, row, 2)?, 0, 4));
            }
        }
        Ok(None)
    }

    /// Returns the row of a member. A type names the first of its members in the column `first`. The first member of the
    /// next type ends the list.
    fn member(
        &self,
        of: TypeDef,
        table: TableId,
        first: usize,
        name: usize,
        wanted: &str,
    ) -> Result<Option<u32>, Unreadable> {
        let end = self.widths.rows(table).saturating_add(1);
        let from = self.cell(TYPE_DEF, of.row, first)?;
        let to = match of.row < self.widths.rows(TYPE_DEF) {
            true => self.cell(TYPE_DEF, of.row + 1, first)?.min(end),
            false => end,
        };
        for row in from..to {
            if self.has_text(table, row, name, wanted)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Returns the value of a cell. Rows count from 1.
    fn cell(&self, table: TableId, row: u32, column: usize) -> Result<u32, Unreadable> {
        let at = || {
            let columns = COLUMNS.get(table)?;
            let width = |columns: &[_]| columns.iter().map(|column| self.widths.of(*column)).sum::<usize>();
            let above = width(columns).checked_mul(row.checked_sub(1)? as usize)?;
            let start = self.starts.get(table)?.checked_add(above)?.checked_add(width(columns.get(..column)?))?;
            number(self.tables, start, self.widths.of(*columns.get(column)?))
        };
        if row > self.widths.rows(table) {
            return Err(Damaged("a row that does not exist"));
        }
        at().ok_or(Damaged("a row that does not exist"))
    }

    /// Returns whether a cell has this text. Does not search for the end of the text, which a malicious file may lack.
    fn has_text(&self, table: TableId, row: u32, column: usize, text: &str) -> Result<bool, Unreadable> {
        let rest = self.texts_from(table, row, column)?.strip_prefix(text.as_bytes());
        Ok(rest.is_some_and(|rest| rest.first() == Some(&0)))
    }

    fn text(&self, table: TableId, row: u32, column: usize) -> Result<&'a str, Unreadable> {
        let rest = self.texts_from(table, row, column)?;
        let length = rest.iter().take(MAX_NAME + 1).position(|byte| *byte == 0);
        let text = length.and_then(|length| rest.get(..length)).ok_or(Damaged("a name without an end"))?;
        let text = std::str::from_utf8(text).ok().filter(|text| !text.chars().any(char::is_control));
        text.ok_or(Damaged("a name that is not text"))
    }

    fn texts_from(&self, table: TableId, row: u32, column: usize) -> Result<&'a [u8], Unreadable> {
        let start = self.cell(table, row, column)? as usize;
        self.texts.get(start..).ok_or(Damaged("a name that does not exist"))
    }

    fn blob(&self, table: TableId, row: u32, column: usize) -> Result<&'a [u8], Unreadable> {
        let start = self.cell(table, row, column)? as usize;
        let at = || {
            let rest = self.blobs.get(start..)?;
            let first = *rest.first()?;
            let (length, from) = match first {
                0..=0x7F => (u32::from(first), 1),
                0x80..=0xBF => (u32::from_be_bytes([0, 0, first & 0x3F, *rest.get(1)?]), 2),
                _ => (u32::from_be_bytes([first & 0x1F, *rest.get(1)?, *rest.get(2)?, *rest.get(3)?]), 4),
            };
            rest.get(from..)?.get(..length as usize)
        };
        at().ok_or(Damaged("a blob that does not exist"))
    }
}

/// The metadata's root: its streams, and the number of rows of each table.
struct Root<'a> {
    runtime: &'a str,
    tables: &'a [u8],
    texts: &'a [u8],
    blobs: &'a [u8],
    large_heaps: u8,
    rows: [u32; TABLE_IDS],
    first_row: usize,
}

impl<'a> Root<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Unreadable> {
        const CUT: Unreadable = Damaged("the metadata's root");
        if data.get(..4) != Some(b"BSJB".as_slice()) {
            return Err(CUT);
        }
        let length = number(data, 12, 4).ok_or(CUT)? as usize;
        let runtime = data.get(16..).and_then(|rest| rest.get(..length)).ok_or(CUT)?;
        let runtime = runtime.split(|byte| *byte == 0).next().unwrap_or_default();
        let runtime = std::str::from_utf8(runtime).map_err(|_| CUT)?;
        if runtime.chars().any(char::is_control) {
            return Err(CUT);
        }
        let (mut tables, mut texts, mut blobs) = (None, None, None);
        let mut at = length.saturating_add(20);
        for _ in 0..number(data, length.saturating_add(18), 2).ok_or(CUT)? {
            let start = number(data, at, 4).ok_or(CUT)? as usize;
            let size = number(data, at.saturating_add(4), 4).ok_or(CUT)? as usize;
            let name = data.get(at.saturating_add(8)..).and_then(|rest| rest.split(|byte| *byte == 0).next());
            let name = name.filter(|name| name.len() < 32).ok_or(CUT)?;
            let stream = data.get(start..).and_then(|rest| rest.get(..size)).ok_or(Damaged("a stream is cut off"))?;
            match name {
                b"#~" => tables = Some(stream),
                b"#-" => return Err(Damaged("it was made by edit and continue")),
                b"#Strings" => texts = Some(stream),
                b"#Blob" => blobs = Some(stream),
                _ => {}
            }
            at = at.saturating_add(8 + (name.len() / 4 + 1) * 4);
        }
        let tables = tables.ok_or(Damaged("there are no tables"))?;
        let (large_heaps, rows, first_row) = Self::rows(tables).ok_or(Damaged("the tables are cut off"))?;
        let (texts, blobs) = (texts.unwrap_or_default(), blobs.unwrap_or_default());
        Ok(Self { runtime, tables, texts, blobs, large_heaps, rows, first_row })
    }

    fn rows(tables: &[u8]) -> Option<(u8, [u32; TABLE_IDS], usize)> {
        let large_heaps = *tables.get(6)?;
        let present = u64::from(number(tables, 8, 4)?) | u64::from(number(tables, 12, 4)?) << 32;
        let mut rows = [0; TABLE_IDS];
        let mut at = 24;
        for (rows, table) in rows.iter_mut().zip(0..) {
            if present >> table & 1 != 0 {
                *rows = number(tables, at, 4)?;
                at += 4;
            }
        }
        // Four more bytes follow if this bit is set. Compilers do not set it.
        let more = if large_heaps & 0x40 != 0 { 4 } else { 0 };
        Some((large_heaps, rows, at + more))
    }
}

/// Reads a little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.get(..size)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}
