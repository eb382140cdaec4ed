//! The layout of the tables of .NET metadata (ECMA-335, II.22 and II.24.2.6).

use Column::{Blob, Coded, Four, Guid, Row, Text, Two};

/// Number of table ids.
pub(super) const TABLE_IDS: usize = 64;

/// The id of a table, as in the standard.
pub(crate) type TableId = usize;

pub(super) const TYPE_REF: TableId = 0x01;
pub(crate) const TYPE_DEF: TableId = 0x02;
pub(super) const FIELD: TableId = 0x04;
pub(super) const METHOD_DEF: TableId = 0x06;
pub(super) const CONSTANT: TableId = 0x0B;
pub(super) const ASSEMBLY: TableId = 0x20;
pub(super) const ASSEMBLY_REF: TableId = 0x23;

/// The type of a column. The width of most types depends on the number of targets.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
    /// An offset in the heap of strings.
    Text,
    /// An index of the heap of GUIDs.
    Guid,
    /// An offset in the heap of blobs.
    Blob,
    /// A row of the table.
    Row(TableId),
    /// A row of one of the tables, which the low bits of the value name.
    Coded(&'static [TableId]),
}

/// An id without a table.
const NONE: TableId = TABLE_IDS - 1;

const TYPE_DEF_OR_REF: Column = Coded(&[0x02, 0x01, 0x1B]);
const HAS_CONSTANT: Column = Coded(&[0x04, 0x08, 0x17]);
const HAS_CUSTOM_ATTRIBUTE: Column = Coded(&[
    0x06, 0x04, 0x01, 0x02, 0x08, 0x09, 0x0A, 0x00, 0x0E, 0x17, 0x14, 0x11, 0x1A, 0x1B, 0x20, 0x23, 0x26, 0x27, 0x28,
    0x2A, 0x2C, 0x2B,
]);
const HAS_FIELD_MARSHAL: Column = Coded(&[0x04, 0x08]);
const HAS_DECL_SECURITY: Column = Coded(&[0x02, 0x06, 0x20]);
const MEMBER_REF_PARENT: Column = Coded(&[0x02, 0x01, 0x1A, 0x06, 0x1B]);
const HAS_SEMANTICS: Column = Coded(&[0x14, 0x17]);
const METHOD_DEF_OR_REF: Column = Coded(&[0x06, 0x0A]);
const MEMBER_FORWARDED: Column = Coded(&[0x04, 0x06]);
const CUSTOM_ATTRIBUTE_TYPE: Column = Coded(&[NONE, NONE, 0x06, 0x0A, NONE]);
const RESOLUTION_SCOPE: Column = Coded(&[0x00, 0x1A, 0x23, 0x01]);

/// The columns of the tables, in the order of their ids, up to the last that is read.
pub(super) const COLUMNS: [&[Column]; ASSEMBLY_REF + 1] = [
    &[Two, Text, Guid, Guid, Guid],                             // 00 Module
    &[RESOLUTION_SCOPE, Text, Text],                            // 01 TypeRef
    &[Four, Text, Text, TYPE_DEF_OR_REF, Row(0x04), Row(0x06)], // 02 TypeDef
    &[Row(0x04)],                                               // 03 FieldPtr
    &[Two, Text, Blob],                                         // 04 Field
    &[Row(0x06)],                                               // 05 MethodPtr
    &[Four, Two, Two, Text, Blob, Row(0x08)],                   // 06 MethodDef
    &[Row(0x08)],                                               // 07 ParamPtr
    &[Two, Two, Text],                                          // 08 Param
    &[Row(0x02), TYPE_DEF_OR_REF],                              // 09 InterfaceImpl
    &[MEMBER_REF_PARENT, Text, Blob],                           // 0A MemberRef
    &[Two, HAS_CONSTANT, Blob],                                 // 0B Constant
    &[HAS_CUSTOM_ATTRIBUTE, CUSTOM_ATTRIBUTE_TYPE, Blob],       // 0C CustomAttribute
    &[HAS_FIELD_MARSHAL, Blob],                                 // 0D FieldMarshal
    &[Two, HAS_DECL_SECURITY, Blob],                            // 0E DeclSecurity
    &[Two, Four, Row(0x02)],                                    // 0F ClassLayout
    &[Four, Row(0x04)],                                         // 10 FieldLayout
    &[Blob],                                                    // 11 StandAloneSig
    &[Row(0x02), Row(0x14)],                                    // 12 EventMap
    &[Row(0x14)],                                               // 13 EventPtr
    &[Two, Text, TYPE_DEF_OR_REF],                              // 14 Event
    &[Row(0x02), Row(0x17)],                                    // 15 PropertyMap
    &[Row(0x17)],                                               // 16 PropertyPtr
    &[Two, Text, Blob],                                         // 17 Property
    &[Two, Row(0x06), HAS_SEMANTICS],                           // 18 MethodSemantics
    &[Row(0x02), METHOD_DEF_OR_REF, METHOD_DEF_OR_REF],         // 19 MethodImpl
    &[Text],                                                    // 1A ModuleRef
    &[Blob],                                                    // 1B TypeSpec
    &[Two, MEMBER_FORWARDED, Text, Row(0x1A)],                  // 1C ImplMap
    &[Four, Row(0x04)],                                         // 1D FieldRVA
    &[Four, Four],                                              // 1E EncLog
    &[Four],                                                    // 1F EncMap
    &[Four, Two, Two, Two, Two, Four, Blob, Text, Text],        // 20 Assembly
    &[Four],                                                    // 21 AssemblyProcessor
    &[Four, Four, Four],                                        // 22 AssemblyOS
    &[Two, Two, Two, Two, Four, Blob, Text, Text, Blob],        // 23 AssemblyRef
];

/// The widths of columns in one assembly.
pub(super) struct Widths {
    pub(super) rows: [u32; TABLE_IDS],
    /// Flags of the heaps that need offsets of four bytes: 1 strings, 2 GUIDs, 4 blobs.
    pub(super) large_heaps: u8,
}

impl Widths {
    pub(super) fn of(&self, column: Column) -> usize {
        let wide = match column {
            Two => false,
            Four => true,
            Text => self.large_heaps & 1 != 0,
            Guid => self.large_heaps & 2 != 0,
            Blob => self.large_heaps & 4 != 0,
            Row(table) => self.rows(table) > 0xFFFF,
            Coded(tables) => {
                let tag_bits = tables.len().next_power_of_two().trailing_zeros();
                let most = tables.iter().map(|table| self.rows(*table)).max().unwrap_or(0);
                most > 0xFFFF >> tag_bits
            }
        };
        if wide { 4 } else { 2 }
    }

    pub(super) fn rows(&self, table: TableId) -> u32 {
        self.rows.get(table).copied().unwrap_or(0)
    }
}
