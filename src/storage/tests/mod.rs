//! A disk that fails, and that it fails as it says.

pub(crate) mod faulty;
pub(crate) mod rng;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Storage, make_dir};
use faulty::{Fault, Faulty};
use rng::Rng;

fn read(disk: &Faulty, path: &Path) -> Option<Vec<u8>> {
    let file = disk.open(path).ok()?;
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

#[test]
fn only_what_is_synced_is_sure_to_outlive_a_power_cut_and_a_kill_loses_nothing() {
    let (mut lost, mut torn, mut kept) = (0, 0, 0);
    for seed in 0..200 {
        let disk = Faulty::new(Rng::new(seed));
        let (synced, unnamed) = (PathBuf::from("/a/synced"), PathBuf::from("/a/unnamed"));
        make_dir(&disk, Path::new("/a")).unwrap();
        let file = disk.create_new(&synced).unwrap();
        file.write_all_at(&[1; 500], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/a")).unwrap();
        file.write_all_at(&[2; 500], 500).unwrap();
        disk.create_new(&unnamed).unwrap().sync_all().unwrap();
        let disk = disk.restart(false);
        assert!(file.length().is_err(), "a handle outlives its process");
        assert_eq!(read(&disk, &synced).unwrap().len(), 1000);
        let disk = disk.restart(true);
        let found = read(&disk, &synced).unwrap();
        assert_eq!(found[..500], [1; 500]);
        let rest = found[500..].iter().filter(|byte| **byte == 2).count();
        lost += usize::from(rest == 0 && !disk.exists(&unnamed).unwrap());
        torn += usize::from(rest > 0 && rest < 500);
        kept += usize::from(rest == 500 && disk.exists(&unnamed).unwrap());
    }
    assert!(lost > 10 && torn > 10 && kept > 10, "{lost} {torn} {kept}");
}

#[test]
fn each_fault_happens_when_it_is_due() {
    let disk = Faulty::new(Rng::new(1));
    let path = Path::new("/f");
    let file = disk.create_new(path).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.arm(Fault::NoSpace, 1);
    file.write_all_at(&[1; 10], 0).unwrap();
    let refused = file.write_all_at(&[1; 10], 10).unwrap_err();
    assert_eq!((refused.kind(), disk.hit()), (ErrorKind::StorageFull, Some(Fault::NoSpace)));
    let disk = disk.restart(false);
    let file = disk.open(path).unwrap();
    disk.arm(Fault::ReadFails, 0);
    assert!(file.read_exact_at(&mut [0; 10], 0).is_err());
    file.read_exact_at(&mut [0; 10], 0).unwrap();
    file.set_len(0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[1; 1000], 0).unwrap();
    disk.arm(Fault::SyncFails, 0);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_ne!(read(&disk.restart(true), path).unwrap(), [1; 1000], "the second sync did not lie");
}
