//! The one program of the image `hello-world`: prints the message that documents of this field quote.

fn main() {
    print!("{}", include_str!("hello.txt"));
}
