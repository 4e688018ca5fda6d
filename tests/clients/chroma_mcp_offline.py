"""chroma-mcp as it is, except that its default embedding function, whose model would have to be downloaded, hashes
words instead."""

from chroma_mcp.server import main
from chromadb.utils.embedding_functions import DefaultEmbeddingFunction
from hashed_words import HashedWords

DefaultEmbeddingFunction.__call__ = lambda self, input: HashedWords()(input)

if __name__ == "__main__":
    main()
