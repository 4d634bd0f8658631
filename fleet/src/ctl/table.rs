//! Columns, set apart by tabs as fleet's were, so that scripts which cut them keep working.

/// Cells of one table; the first row may be its legend.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

/// A tab stop, in characters.
const TAB: usize = 8;

impl Table {
    /// Adds a row. All rows have as many cells as the first.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text: each column but the last is as wide as its widest cell and one
    /// character, up to the next tab stop, and filled with tabs.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
                (widest + 1).div_ceil(TAB) * TAB
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column + 1 < row.len() {
                    let missing = widths[column] - cell.chars().count();
                    text.push_str(&"\t".repeat(missing.div_ceil(TAB)));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_end_at_tab_stops() {
        let mut table = Table::default();
        for row in [
            ["UNIT", "MACHINE", "ACTIVE"],
            ["nginx@1.service", "113f16a7.../172.17.8.103", "active"],
        ] {
            table.row(row.map(str::to_string).to_vec());
        }
        assert_eq!(
            table.text(),
            "UNIT\t\tMACHINE\t\t\t\tACTIVE\nnginx@1.service\t113f16a7.../172.17.8.103\tactive\n"
        );
        assert_eq!(Table::default().text(), "");
    }
}
