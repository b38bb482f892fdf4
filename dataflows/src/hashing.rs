//! How keys are hashed; in this crate's own tests to two bits, so that nothing rests on hashes being different.

#[cfg(not(test))]
pub(crate) use hashbrown::DefaultHashBuilder as Hashing;
#[cfg(test)]
pub(crate) use narrow::Hashing;

#[cfg(test)]
mod narrow {
    use std::hash::{BuildHasher, Hasher};

    use hashbrown::DefaultHashBuilder;

    /// One in four keys has the hash of any other.
    #[derive(Default)]
    pub(crate) struct Hashing(DefaultHashBuilder);

    pub(crate) struct Narrow(<DefaultHashBuilder as BuildHasher>::Hasher);

    impl BuildHasher for Hashing {
        type Hasher = Narrow;

        fn build_hasher(&self) -> Narrow {
            Narrow(self.0.build_hasher())
        }
    }

    impl Hasher for Narrow {
        fn finish(&self) -> u64 {
            // The highest: some keep only the upper half.
            self.0.finish() >> 62 << 62
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0.write(bytes);
        }
    }
}
