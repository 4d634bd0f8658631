//! An EFI program that does nothing, to put sections behind.

/// A PE file of one section with room for `room` section headers: enough for
/// what reads its layout, not for a machine.
pub(crate) fn stub(room: usize) -> Vec<u8> {
    let (pe, optional_size, section_header) = (0x40_usize, 240_usize, 40);
    let sections = pe + 24 + optional_size;
    let header_size = (sections + room * section_header) as u32;
    let text = header_size.next_multiple_of(512) as usize;
    let mut out = vec![0; text + 512];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &(pe as u32).to_le_bytes());
    put(pe, b"PE\0\0\x64\x86\x01\0");
    put(pe + 20, &(optional_size as u16).to_le_bytes());
    put(pe + 22, &0x22e_u16.to_le_bytes());
    // Magic, base, alignments in memory and in the file, sizes of image and
    // headers, subsystem, number of data directories.
    for (offset, value) in [
        (0, 0x20b),
        (24, 0x1000_0000),
        (32, 4096),
        (36, 512),
        (56, 0x2000),
        (60, header_size),
        (68, 10),
        (108, 16),
    ] {
        put(pe + 24 + offset, &u32::to_le_bytes(value));
    }
    put(sections, b".text\0\0\0");
    for (offset, value) in
        [(8, 0x123), (12, 0x1000), (16, 512), (20, text as u32), (36, 0x6000_0020)]
    {
        put(sections + offset, &u32::to_le_bytes(value));
    }
    out
}
