//! A kernel module that does nothing, to be indexed.

/// An ELF file with symbols that it gives and wants, and lines of information.
pub(crate) fn module(gives: &[&str], wants: &[&str], info: &[&str]) -> Vec<u8> {
    let mut names = vec![0];
    let mut symbols = vec![0; 24];
    let given = gives.iter().map(|name| (format!("__ksymtab_{name}"), 1_u16));
    for (name, section) in given.chain(wants.iter().map(|name| ((*name).to_owned(), 0))) {
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0x10, 0]);
        symbols.extend(section.to_le_bytes());
        symbols.extend([0; 16]);
        names.extend(name.bytes());
        names.push(0);
    }
    let info: Vec<u8> =
        info.iter().flat_map(|line| line.bytes().chain(std::iter::once(0))).collect();
    let section_names = b"\0.modinfo\0.symtab\0.strtab\0.shstrtab\0";
    // Name, kind, link and contents of each section; the first one is empty.
    let sections: [(u32, u32, u32, &[u8]); 5] = [
        (0, 0, 0, &[]),
        (1, 1, 0, &info),
        (10, 2, 3, &symbols),
        (18, 3, 0, &names),
        (26, 3, 0, section_names),
    ];
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(64, 0);
    (out[16], out[18]) = (1, 62);
    (out[58], out[60], out[62]) = (64, sections.len() as u8, 4);
    let mut headers = Vec::new();
    for (name, kind, link, contents) in sections {
        headers.extend(name.to_le_bytes());
        headers.extend(kind.to_le_bytes());
        headers.extend([0; 16]);
        headers.extend((out.len() as u64).to_le_bytes());
        headers.extend((contents.len() as u64).to_le_bytes());
        headers.extend(link.to_le_bytes());
        headers.resize(headers.len().next_multiple_of(64), 0);
        out.extend(contents);
    }
    let table = out.len() as u64;
    out[40..48].copy_from_slice(&table.to_le_bytes());
    out.extend(headers);
    out
}
