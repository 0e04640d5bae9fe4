"""One loader a family of corpora; `qkv.data.corpora` lists them."""
