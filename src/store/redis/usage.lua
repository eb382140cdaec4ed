-- Answers with how many attempts began within a day, then with each country and how many to it.

local sum = count_day(key('day'))
local answer = {text(sum)}
for _, country in ipairs(call('SMEMBERS', key('countries'))) do
    sum = count_day(key('c', country))
    if sum > 0 then
        answer[#answer + 1] = country
        answer[#answer + 1] = text(sum)
    end
end
return answer
