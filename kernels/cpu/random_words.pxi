# Words of the random stream that kernels/contracts.py states.

cdef extern from "philox.h":
    enum:
        PHILOX_BLOCKS  # made in one go, of four words each
    void philox_words(uint64_t first_block, uint32_t key0, uint32_t key1, uint32_t* words) noexcept nogil


cdef void make_words(uint64_t seed, uint64_t start, Py_ssize_t count, uint32_t* words) noexcept nogil:
    """Words start..start+count-1 of the stream of a seed."""
    cdef uint32_t some[4 * PHILOX_BLOCKS]
    cdef uint32_t key0 = <uint32_t>seed, key1 = <uint32_t>(seed >> 32)
    cdef uint64_t block = start // 4
    cdef Py_ssize_t skip = start % 4, done = 0, n
    while done < count:
        n = min(4 * PHILOX_BLOCKS - skip, count - done)
        if n == 4 * PHILOX_BLOCKS:
            philox_words(block, key0, key1, words + done)
        else:
            philox_words(block, key0, key1, some)
            memcpy(words + done, some + skip, n * sizeof(uint32_t))
        done += n
        skip = 0
        block += PHILOX_BLOCKS
