#include "pair_batch.hpp"

#include <fcntl.h>
#include <new>
#include <sys/stat.h>
#include <unistd.h>

namespace imagemill {
namespace {

// All of a regular file; its size, or -1 where it cannot be read: whoever asked finds out why.
int64_t read_file(const char* path, std::unique_ptr<uint8_t[]>& content) {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return -1;
    }
    struct stat status;
    int64_t size = -1;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
        content.reset(new (std::nothrow) uint8_t[static_cast<size_t>(status.st_size) + 1]);
        size = 0;
        while (content != nullptr && size < status.st_size) {
            const ssize_t got = ::read(file, content.get() + size, static_cast<size_t>(status.st_size - size));
            if (got <= 0) {
                break;
            }
            size += got;
        }
        size = size == status.st_size && content != nullptr ? size : -1;
    }
    ::close(file);
    return size;
}

}  // namespace

bool PairBatch::open_one(const PairSource& source, const char* names, Opened& opened, PairFound& found) const {
    opened.file.reset(new PictureFile(rules_));
    if (source.height != 0) {
        opened.file->open_raw(source.data, {static_cast<int>(source.height), static_cast<int>(source.width)});
        return true;
    }
    const uint8_t* data = source.data;
    int64_t size = source.size;
    if (source.path >= 0) {
        size = read_file(names + source.path, opened.content);
        data = opened.content.get();
    }
    return size >= 0 && opened.file->open(data, static_cast<size_t>(size), &found.profile) == Status::kDone;
}

void PairBatch::open(const PairSource* sources, int64_t count, const char* names, PairFound* found) {
    opened_.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
        Opened& opened = opened_[static_cast<size_t>(i)];
        found[i] = {0, 0, 0};
        try {
            if (open_one(sources[i], names, opened, found[i])) {
                found[i].height = opened.file->sides().height;
                found[i].width = opened.file->sides().width;
                continue;
            }
        } catch (const std::bad_alloc&) {
        }
        opened.file.reset();
    }
}

void PairBatch::show(const Pair* pairs, int32_t* statuses) {
    for (size_t i = 0; i < opened_.size(); ++i) {
        Opened& opened = opened_[i];
        Status status = Status::kElsewhere;
        try {
            if (opened.file != nullptr && pairs[i].high != nullptr) {
                status = show_pair(*opened.file, pairs[i]);
            }
        } catch (const std::bad_alloc&) {
            status = Status::kNoMemory;
        }
        statuses[i] = static_cast<int32_t>(status);
        opened = Opened{};  // what comes next finds this memory in the cache
    }
}

}  // namespace imagemill
