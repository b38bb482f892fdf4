//! What a log has to do with disk that is given back: where its entries are, and whether it stays.

use super::super::block::Block;
use super::super::posting_files::Numbers;
use super::{ShapeLog, State};

impl ShapeLog {
    /// From now on the catalogue takes no record of the shape: its removal comes next.
    pub fn leave(&self) {
        self.state().leaving = true;
    }

    /// Whether the shape is to be found again after a restart.
    #[must_use]
    pub fn stays(&self) -> bool {
        let state = self.state();
        state.ended.is_none() && !state.leaving
    }

    /// Shows where the entries are.
    pub fn each_block(&self, each: impl FnMut(&Block)) {
        self.state().blocks().iter().for_each(each);
    }

    /// Shows where the entries are that are in the posting files of these numbers.
    pub(in crate::shape_log) fn each_block_in(&self, numbers: Numbers, each: impl FnMut(&Block)) {
        self.state().blocks_in(numbers).iter().for_each(each);
    }

    /// Entries in these files are elsewhere now. Who has looked before still finds them.
    pub(in crate::shape_log) fn move_blocks(
        &self,
        numbers: Numbers,
        moved: impl Fn(&Block) -> Option<Block>,
    ) {
        for block in self.state().blocks_in(numbers) {
            if let Some(moved) = moved(block) {
                *block = moved;
            }
        }
    }
}

impl State {
    /// They are in the order in which they were written.
    fn blocks_in(&mut self, (first, last): Numbers) -> &mut [Block] {
        let Some(more) = &mut self.more else { return &mut [] };
        let begin = more.blocks.partition_point(|block| block.file.numbers.1 < first);
        let end = more.blocks.partition_point(|block| block.file.numbers.0 <= last);
        &mut more.blocks[begin..end]
    }
}
