// Work in parts by several threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

// Work on parts 0 ... n - 1 by up to n_thread threads, each with what `make` gives it.
template <typename Make>
void in_threads(int64_t n_thread, int64_t n, const Make& make) {
  std::atomic<int64_t> next{0};
  const auto run = [&] {
    auto work = make();
    for (int64_t part; (part = next.fetch_add(1)) < n;) work(part);
  };
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < std::min(n_thread, n); ++i) threads.emplace_back(run);
  run();
  for (auto& thread : threads) thread.join();
}

}  // namespace
