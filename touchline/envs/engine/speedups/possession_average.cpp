// The average of the last six seconds of possession, which every player asks for, is summed once a frame.
//
// Exact: `ValueHistory` (only the match has one) adds up to 600 values, newest first, from a linked list. Here they lie in a
// row, in the same order, and the sum is made by the same additions; it is kept until a value is inserted, the history
// is cleared or a state is processed. A state is written from the row as it was from the list: the number, the values.

// @members base/utils.hpp ValueHistory

    private:
      // Values from index `first` on, oldest first; they take the place of the list above, which stays empty.
      std::vector<T> row;
      std::size_t first = 0;

      mutable bool averageKnown = false;
      mutable unsigned int averageTime_ms = 0;
      mutable T average = 0;

      void ForgetDropped() {
        row.erase(row.begin(), row.begin() + first);
        first = 0;
      }

// @replace base/utils.hpp Insert

void Insert(const T &value) {
        averageKnown = false;
        row.push_back(value);
        if (row.size() - first > maxTime_ms / 10) first++;
        if (first >= 1024) ForgetDropped();
      }

// @replace base/utils.hpp GetAverage

T GetAverage(unsigned int time_ms) const {
        if (averageKnown && averageTime_ms == time_ms) return average;
        const std::size_t count = std::min(row.size() - first, (std::size_t)(time_ms / 10) + 1);
        T total = 0;
        for (std::size_t i = 0; i < count; i++) total += row[row.size() - 1 - i];
        if (count > 0) total /= (float)count;
        averageKnown = true;
        averageTime_ms = time_ms;
        average = total;
        return total;
      }

// @replace base/utils.hpp Clear

void Clear() {
        averageKnown = false;
        row.clear();
        first = 0;
      }

// @replace base/utils.hpp ProcessState

void ProcessState(EnvState *state) {
        averageKnown = false;
        ForgetDropped();
        state->process(maxTime_ms);
        state->process(row);
      }
