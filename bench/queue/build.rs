fn main() {
    println!("cargo::rerun-if-changed=loop.c");
    cc::Build::new().file("loop.c").opt_level(2).compile("loop");
}
