-- Only the stamp's soft expiry changes, with its checksum, and when the key expires: after the idle timeout, at the
-- absolute expiry at the latest. The version stays. Creates nothing, and seals nothing anew that is damaged. Answers how it went; and, if
-- nobody is logged in, when it would have expired before and after, and the idle timeout; else who, when it ends at the latest, and in
-- which epoch the login began. ARGV: whose it is as far as is known, if it is to be looked at whether they were revoked.
local head = redis.pcall('GETRANGE', KEYS[1], 0, 469)
if type(head) == 'table' and not string.find(head.err, 'WRONGTYPE', 1, true) then
  return head
end
if type(head) == 'table' or #head < 184 or not is_sealed(head) then
  return {0, 0, 0, 0, '', 0, 0}
end
local hard = number(head, 41)
local ends = math.min(number(head, 33), hard)
-- A key that somebody made persistent outlives its session.
if now >= ends then
  return {0, 0, 0, 0, '', 0, 0}
end
local principal, epoch = '', 0
-- The first field is the principal, if somebody is logged in.
if #head >= 214 and struct.unpack('<I2', head, 209) == 1 then
  principal, epoch = string.sub(head, 215, 214 + struct.unpack('<I4', head, 211)), number(head, 193)
end
if #ARGV[1] > 0 and principal == ARGV[1] and epoch < last_epoch() then
  return {0, 0, 0, 0, '', 0, 0}
end
local idle = number(head, 177)
local soft = now + idle
-- First what needs no room, so that a session slides on a server that is full as well: see revoke.lua.
local slid = redis.call('PEXPIRE', KEYS[1], math.ceil((math.min(soft, hard) - now) / 1000))
redis.call('SETRANGE', KEYS[1], 16, sealed(number(head, 17), number(head, 25), soft, hard))
if #principal > 0 then
  return {slid, 0, 0, 0, principal, hard, epoch}
end
return {slid, ends, math.min(soft, hard), idle, '', 0, 0}
